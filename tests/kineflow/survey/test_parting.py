"""Groups and splits of clips: what lists say holds, and what a user should know of it is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kineflow.data.fingerprint import Fingerprint
from kineflow.data.layouts.rows import ListedClip, Listing
from kineflow.data.source import LocalSource
from kineflow.spec.split import Split
from kineflow.survey.facts import Header, Look
from kineflow.survey.found import FoundClips
from kineflow.survey.parting import Parted, part_clips
from kineflow.survey.survey_set import SeenClip

Row = tuple[str, str | None, Split]


def parted(rows: list[Row], *, folds: int | None, scenes: list[int]) -> Parted:
    """Clips of which those of one scene are found to be one group."""
    clips = []
    for number, ((name, label, split), scene) in enumerate(zip(rows, scenes, strict=True)):
        frames = np.random.default_rng(scene).integers(0, 255, (4, 48, 64), dtype=np.uint8)
        look = Look(Header(25.0, 2.0, 64, 48, "h264"), fingerprint=Fingerprint.of(frames))
        clips.append(SeenClip(number, ListedClip(name, label, split, name, "l:1"), look))
    listing = Listing(("a", "b"), tuple(clip.listed for clip in clips))
    found = FoundClips(LocalSource(Path()), "csv", "", listing, has_splits=folds == 0, has_groups=False)
    return part_clips(clips, found=found, folds=folds, seed=1)


def test_given_splits_win_over_groups_that_are_found() -> None:
    rows: list[Row] = [("k.mp4", "a", Split.TRAIN), ("l.mp4", "a", Split.TEST), ("m.mp4", None, Split.UNLABELLED),
                       ("n.mp4", "b", Split.TRAIN), ("o.mp4", "b", Split.TEST), ("p.mp4", "b", Split.VAL),
                       ("q.mp4", "a", Split.VAL)]  # fmt: skip
    made = parted(rows, folds=0, scenes=[1, 1, 1, 4, 5, 6, 7])
    assert [clip.listed.split for clip in made.clips] == [split for _, _, split in rows]
    assert [clip.listed.group for clip in made.clips][:3] == ["k", "k (test)", "k"]
    (warning,) = made.warnings
    assert "k in test and train" in warning
    assert "k.mp4 and l.mp4" in warning


def test_a_class_that_no_fold_can_test_is_told_with_what_helps() -> None:
    rows: list[Row] = [(f"{name}.mp4", "a" if name in "kl" else "b", Split.TRAIN) for name in "klmnop"]
    (warning,) = parted(rows, folds=2, scenes=[1, 1, 3, 4, 5, 6]).warnings
    assert warning.startswith("a comes from 1 group")
    assert "add clips of another recording" in warning
