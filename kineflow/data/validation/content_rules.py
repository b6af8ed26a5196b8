"""The part of the suite that asks what frames show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kineflow.data.validation import content_expectations as ours
from kineflow.data.validation.checks import Severity
from kineflow.data.validation.rule import Rule
from kineflow.data.validation.settings import ValidationSettings


def content_rules(
    classes: list[str], limits: ValidationSettings, before: Mapping[str, Sequence[float]] | None
) -> list[Rule]:
    """Every rule that the limits ask for.

    Args:
        classes: Of the clip set.
        limits: Where acceptable ends.
        before: Of the last set that was accepted, see :func:`kineflow.data.validation.drift.by_group`; None: there is
            none.
    """
    warning = Severity.WARNING
    copies = warning if limits.allow_near_copies else Severity.CRITICAL
    found = [
        Rule(
            "copies_in_one_split", "No clip shows what one of another split shows", copies,
            "keep copies in one split (see their pictures); are they none, set validation.allow_near_copies",
            (ours.ExpectNoNearCopyInSeveralSplits(),),
        ),
        Rule(
            "copies_under_one_label", "Clips that show the same have one label", copies,
            "correct a label or leave one out (see their pictures), or set validation.allow_near_copies",
            (ours.ExpectNoNearCopyUnderSeveralLabels(),),
        ),
        Rule(
            "copies_once", "No clip shows what another shows", warning,
            "leave the copies out: they count twice; or set validation.allow_duplicates_within_split",
            (ours.ExpectNoNearCopyTwice(),),
        ),
        Rule(
            "frames_readable", "Frames of all usable clips can be looked at", warning,
            "bring the files back, or run the ingest step again: what they show was not checked",
            (ours.ExpectFramesToBeReadable(),),
        ),
        Rule(
            "classes_move", "Every class has clips in which something moves", Severity.CRITICAL,
            "the clips are frozen or black: mend them, drop the class, or lower validation.min_change",
            (ours.ExpectClassesToMove(classes=classes, least=limits.min_change),),
        ),
        Rule(
            "clips_move", "Something moves in every clip", warning,
            "frozen and black clips teach no motion: leave them out, or lower validation.min_change",
            (ours.ExpectClipsToMove(least=limits.min_change),),
        ),
        Rule(
            "no_outliers", f"Rates, sizes and durations are within {limits.max_outlier_factor:g} times the median",
            warning, "see if the file is right; ingestion.fps brings rates together; or raise "
            "validation.max_outlier_factor",
            (ours.ExpectNoOutliers(factor=limits.max_outlier_factor),),
        ),
        Rule(
            "test_like_train", "Test clips are as bright, lively, sharp and fast as training clips", warning,
            "the test may measure that difference: split by chance among groups, or expect less",
            (ours.ExpectTestToBeLikeTrain(most=limits.max_drift),),
        ),
    ]  # fmt: skip
    if before is not None:
        lists = {name: list(values) for name, values in before.items()}
        last = Rule(
            "like_the_last_set", "Clips are as those of the last set that was accepted", warning,
            "see what has changed in camera, light or export: a model of that set may not fit these clips",
            (ours.ExpectToBeLikeTheLastSet(before=lists, most=limits.max_drift),),
        )  # fmt: skip
        found.append(last)
    return found
