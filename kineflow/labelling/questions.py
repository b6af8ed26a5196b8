"""What is asked of somebody who labels clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Question:
    """A clip that somebody should look at.

    Attributes:
        clip_id: Its name in the clip set.
        path: Of its video, as the project's list has it in the column ``path``: relative to the source.
        video: The stored clip, an mp4 of the clip set.
        label: The class that it has in the list; empty: none.
        probabilities: What a model says, by class; they add up to 1.
        why: It is asked, in a short sentence.
        start_sec: Where the clip begins in its video, in seconds; None: at the video's start.
        end_sec: Where it ends; None: at the video's end.
        start_frame, end_frame: The same in numbers of frames, where the list tells the part so.
    """

    clip_id: str
    path: str
    video: Path
    label: str
    probabilities: Mapping[str, float]
    why: str
    start_sec: float | None
    end_sec: float | None
    start_frame: int | None
    end_frame: int | None


@dataclass(frozen=True)
class Questions:
    """All that is asked at once.

    Attributes:
        classes: Those that a clip may have.
        suggested: Clips without a label, the most useful first.
        suspected: Clips with a label that may be wrong, the most suspicious first.
        model: Whose probabilities they are.
        data_version: Of the clips that it was shown.
    """

    classes: tuple[str, ...]
    suggested: tuple[Question, ...]
    suspected: tuple[Question, ...]
    model: str
    data_version: str
