"""The findings in frames as Great Expectations, as :mod:`kineflow.data.validation.expectations`."""

from __future__ import annotations

from typing import ClassVar

import pandas as pd

from kineflow.data.validation import content_findings as findings
from kineflow.data.validation.expectations import FindsNothing, usable
from kineflow.data.validation.findings import Finding


class ExpectFramesToBeReadable(FindsNothing):
    """The frames of every usable clip can be read."""

    def find(self, clips: pd.DataFrame) -> Finding:
        """See :func:`findings.unread`."""
        return findings.unread(usable(clips))


class ExpectNoNearCopyInSeveralSplits(FindsNothing):
    """No clip of val or test shows what a clip of another split shows."""

    def find(self, clips: pd.DataFrame) -> Finding:
        """See :func:`findings.copies_in_several_splits`."""
        return findings.copies_in_several_splits(usable(clips))


class ExpectNoNearCopyUnderSeveralLabels(FindsNothing):
    """Clips that show the same have one label."""

    def find(self, clips: pd.DataFrame) -> Finding:
        """See :func:`findings.copies_under_several_labels`."""
        return findings.copies_under_several_labels(usable(clips))


class ExpectNoNearCopyTwice(FindsNothing):
    """No clip shows what another of its split shows."""

    def find(self, clips: pd.DataFrame) -> Finding:
        """See :func:`findings.copies_twice`."""
        return findings.copies_twice(usable(clips))


class ExpectClassesToMove(FindsNothing):
    """Each class has a clip in which something moves."""

    classes: list[str]
    least: float
    success_keys: ClassVar[tuple[str, ...]] = ("classes", "least")

    def find(self, clips: pd.DataFrame) -> Finding:
        """See :func:`findings.classes_without_motion`."""
        return findings.classes_without_motion(usable(clips), classes=self.classes, least=self.least)


class ExpectClipsToMove(FindsNothing):
    """In every clip something moves."""

    least: float
    success_keys: ClassVar[tuple[str, ...]] = ("least",)

    def find(self, clips: pd.DataFrame) -> Finding:
        """See :func:`findings.clips_without_motion`."""
        return findings.clips_without_motion(usable(clips), least=self.least)


class ExpectNoOutliers(FindsNothing):
    """Rate, shorter side and duration of each clip are within a factor of the median."""

    factor: float
    success_keys: ClassVar[tuple[str, ...]] = ("factor",)

    def find(self, clips: pd.DataFrame) -> Finding:
        """See :func:`findings.outliers`."""
        return findings.outliers(usable(clips), factor=self.factor)


class ExpectTestToBeLikeTrain(FindsNothing):
    """Test clips are as bright, lively, sharp and fast as training clips."""

    most: float
    success_keys: ClassVar[tuple[str, ...]] = ("most",)

    def find(self, clips: pd.DataFrame) -> Finding:
        """See :func:`findings.drift_of_test`."""
        return findings.drift_of_test(usable(clips), most=self.most)


class ExpectToBeLikeTheLastSet(FindsNothing):
    """Clips are as bright, lively, sharp and fast as those of the last set that was accepted."""

    before: dict[str, list[float]]
    most: float
    success_keys: ClassVar[tuple[str, ...]] = ("before", "most")

    def find(self, clips: pd.DataFrame) -> Finding:
        """See :func:`findings.drift_since`."""
        return findings.drift_since(usable(clips), before=self.before, most=self.most)
