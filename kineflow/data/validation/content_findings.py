"""Faults that show in frames: plain functions from the manifest to what was found, as in
:mod:`kineflow.data.validation.findings`.

The manifest has the columns of :data:`kineflow.data.validation.contents.CONTENT_COLUMNS` too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from kineflow.data.validation.drift import by_group, shifts
from kineflow.data.validation.findings import (
    Finding,
    a_row_a_class,
    enumerated,
    ids_of,
    naming_sources,
    used_for,
    video_key,
)
from kineflow.spec.split import Split

_NORMAL_MADS = 4.5 * 1.4826  # of a normal distribution, 4.5 standard deviations


def unread(clips: pd.DataFrame) -> Finding:
    """Clips of which no frame could be looked at."""
    lost = clips[clips["brightness"].isna()]
    return Finding(f"{len(lost)} of {len(clips)}" if len(lost) else "", ids_of(lost))


def copies_in_several_splits(clips: pd.DataFrame) -> Finding:
    """Near copies that lie in more than one split; unlabelled clips count as those of train."""
    copies = _copies(clips)
    astray = copies[used_for(copies).groupby(copies["copy_of"]).transform("nunique") > 1]
    return naming_sources(astray, copies["copy_of"], "split")


def copies_under_several_labels(clips: pd.DataFrame) -> Finding:
    """Near copies that have more than one label."""
    copies = _copies(clips[clips["label"].notna()])
    astray = copies[copies.groupby("copy_of")["label"].transform("nunique") > 1]
    return naming_sources(astray, copies["copy_of"], "label")


def copies_twice(clips: pd.DataFrame) -> Finding:
    """Near copies that do no harm but count twice: within a split under one label, or in train and unlabelled."""
    copies = _copies(clips)
    harmful = {*copies_in_several_splits(clips).clip_ids, *copies_under_several_labels(clips).clip_ids}
    with_harm = copies["clip_id"].isin(harmful).groupby(copies["copy_of"]).transform("any")
    harmless = copies[~with_harm]
    again = len(harmless) - harmless["copy_of"].nunique()
    return Finding(f"{again} of {len(harmless)} that are alike" if again else "", ids_of(harmless))


def classes_without_motion(clips: pd.DataFrame, *, classes: Sequence[str], least: float) -> Finding:
    """Classes of which no clip changes by ``least`` grey levels."""
    known = a_row_a_class(clips[clips["change"].notna()]).reset_index(drop=True)
    dead = known["change"].astype(float) < least
    of_class = known["label"].isin(classes)
    without = dead.groupby(known["label"]).transform("all") & of_class
    counts = known[without]["label"].value_counts(sort=False)
    return Finding(enumerated([f"{name} ({count} clips)" for name, count in counts.items()]), ids_of(known[without]))


def clips_without_motion(clips: pd.DataFrame, *, least: float) -> Finding:
    """Clips that are frozen or black: no part of the picture changes by ``least`` grey levels."""
    known = clips[clips["change"].notna()]
    dead = known[known["change"].astype(float) < least]
    phrases = [
        f"{clip_id} (change {change:.2f}, brightness {brightness:.0f})"
        for clip_id, change, brightness in zip(dead["clip_id"], dead["change"], dead["brightness"], strict=True)
    ]
    return Finding(enumerated(phrases), ids_of(dead))


def outliers(clips: pd.DataFrame, *, factor: float) -> Finding:
    """Clips whose rate, shorter side or duration is over ``factor`` times the median, or under its inverse.

    Where these vary by themselves, so must it be beyond 4.5 robust standard deviations of their logarithm.
    """
    numbers = {name: pd.to_numeric(clips[name], errors="coerce") for name in ("fps", "width", "height", "frames")}
    columns = {
        "{:.3g} frames/s": numbers["fps"],
        "{:.0f} px": np.minimum(numbers["width"], numbers["height"]),
        "{:.3g} s": numbers["frames"] / numbers["fps"],
    }
    phrases: list[str] = []
    astray = pd.Series(data=False, index=clips.index)
    for form, values in columns.items():
        sane = values[(values > 0) & np.isfinite(values)]
        if sane.empty:
            continue
        logs = np.log(sane.astype(float))
        apart = (logs - logs.median()).abs()
        far = apart[apart > max(np.log(factor), _NORMAL_MADS * apart.median())].index
        astray[far] = True
        typical = form.format(sane.median())
        phrases += [f"{clips.at[at, 'clip_id']} {form.format(sane[at])} (median {typical})" for at in far]
    return Finding(enumerated(phrases), ids_of(clips[astray]))


def drift_of_test(clips: pd.DataFrame, *, most: float) -> Finding:
    """Quantities in which test clips differ from training clips."""
    train, test = (by_group(clips[clips["split"] == split.value]) for split in (Split.TRAIN, Split.TEST))
    return Finding("; ".join(each.phrase("train", "test") for each in shifts(train, test, most=most)))


def drift_since(clips: pd.DataFrame, *, before: Mapping[str, Sequence[float]], most: float) -> Finding:
    """Quantities in which the clips differ from those of an earlier set, see :func:`by_group`."""
    return Finding(
        "; ".join(each.phrase("the last set", "this") for each in shifts(before, by_group(clips), most=most))
    )


def _copies(clips: pd.DataFrame) -> pd.DataFrame:
    """Clips that have a near copy which is of another file; what is of one file is the business of other findings."""
    files = video_key(clips).groupby(clips["copy_of"]).transform("nunique")
    return clips[files > 1]
