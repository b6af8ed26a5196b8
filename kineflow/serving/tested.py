"""How a model was tested, and what it has shown: travels with a registered bundle, so that it answers likewise.

On disk ``protocol.json`` beside ``model.json``::

    {"format": 1, "views": {"clips_per_video": 10, …}, "clips": 320, "top1": 0.622, "top1_one_view": 0.581}
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from kineflow.evaluation.view_protocol import ONE_VIEW, ViewProtocol, centre_views, read_views
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file
from kineflow.storage.safe_json import read_json

TESTED_FILE = "protocol.json"
MAX_TESTED_BYTES = 2**16

UNTESTED = centre_views(10)
"""What a model answers with of which nobody knows how it was tested."""

_FORMAT = 1


@dataclass(frozen=True)
class AsTested:
    """The views that a model's figures are of, and the figures.

    Attributes:
        views: Of each video.
        clips: How many clips it was tested on.
        top1: Share of them that were right, in [0, 1].
        top1_one_view: The same where it saw one window of each, the centre; None where nobody asked.
    """

    views: ViewProtocol
    clips: int
    top1: float
    top1_one_view: float | None = None

    def save(self, path: Path) -> None:
        """Write a JSON file, whole or not at all."""
        with atomic_file(path) as partial:
            partial.write_text(json.dumps({"format": _FORMAT, **asdict(self)}, indent=1) + "\n", encoding="utf-8")

    @property
    def words(self) -> str:
        """What an answer is worth, and what a cheaper one would be."""
        answer = f"answers as it was tested: {self.views.words}; top-1 {self.top1:.1%} on {self.clips} clips"
        if self.views == ONE_VIEW or self.top1_one_view is None:
            return answer
        views = f"one of {self.views.views} views" if self.views.views else "one view"
        return f"{answer}, and {self.top1_one_view:.1%} with {views} (clips = 1)"


def read_tested(path: Path) -> AsTested | None:
    """What :meth:`AsTested.save` wrote; None where there is no such file.

    Raises:
        KineflowError: It is damaged.
    """
    if not path.is_file():
        return None
    try:
        content = read_json(path, max_bytes=MAX_TESTED_BYTES)
        if content["format"] != _FORMAT:
            raise ValueError(f"format {content['format']!r}, where {_FORMAT} is known")
        one_view = content["top1_one_view"]
        return AsTested(
            read_views(content["views"]),
            int(content["clips"]),
            float(content["top1"]),
            None if one_view is None else float(one_view),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KineflowError(
            f"does not say how the model was tested: {error}", where=path, remedy="register the model again"
        ) from None


def words_of(tested: AsTested | None, clips: int | None = None) -> str:
    """What answers about whole videos are worth, for people.

    Args:
        tested: None of a model of which nobody knows.
        clips: Windows that were asked for instead; None for none.
    """
    if tested and clips is not None and centre_views(clips) == tested.views:
        return tested.words
    if clips is None:
        unknown = f"nobody has recorded how this model was tested; it answers with {_centres(UNTESTED.clips_per_video)}"
        return tested.words if tested else unknown
    answer = f"answers with {_centres(clips)}"
    if tested is None:
        return answer
    as_tested = f"as it was tested, with {tested.views.words}, top-1 is {tested.top1:.1%} on {tested.clips} clips"
    if clips == 1 and tested.top1_one_view is not None:
        return f"{answer}: top-1 {tested.top1_one_view:.1%}; {as_tested}"
    return f"{answer}, which nobody has measured; {as_tested}"


def _centres(windows: int) -> str:
    return "one window, its centre" if windows == 1 else f"{windows} windows, the centre of each"
