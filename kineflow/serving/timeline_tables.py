"""Timelines of videos, as lines, CSV and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from kineflow.serving.answers import whole, write_json, write_rows
from kineflow.serving.timeline_segments import Labelled, merged_segments

_HEADER = ("path", "label", "score", "start_s", "end_s")
_DIGITS = 3  # milliseconds


@dataclass
class VideoTimeline:
    """What happens when in a video.

    Attributes:
        path: Of the video, as it was named.
        threshold: Of its segments, see :func:`kineflow.serving.timeline_segments.merged_segments`.
        windows: In order.
        error: Why there are no more of them; empty where they reach the end.
    """

    path: str
    threshold: float
    windows: list[Labelled] = field(default_factory=list)
    error: str = ""

    @property
    def segments(self) -> list[Labelled]:
        """Windows of one class, merged."""
        return merged_segments(self.windows, self.threshold)

    def lines(self) -> Iterator[str]:
        """The segments, for a terminal."""
        for segment in self.segments:
            yield f"{segment.start_sec:9.2f} – {segment.end_sec:9.2f} s  {segment.score:6.1%}  {segment.label}"
        if not self.segments and not self.error:
            yield f"no window has a class with a score of {self.threshold:g} or more (of {len(self.windows)} windows)"

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "path": self.path,
            "threshold": self.threshold,
            "windows": [_plain(window) for window in self.windows],
            "segments": [_plain(segment) for segment in self.segments],
            "error": self.error or None,
        }


def windows_csv(timelines: Sequence[VideoTimeline], stream: TextIO) -> None:
    """A row a window, and one for what ended a video early."""
    rows: list[list[object]] = []
    for timeline in timelines:
        rows += [[*_row(timeline.path, window), ""] for window in timeline.windows]
        if timeline.error:
            rows.append([timeline.path, "", "", "", "", timeline.error])
    write_rows(stream, [*_HEADER, "error"], rows)


def segments_csv(timelines: Sequence[VideoTimeline], stream: TextIO) -> None:
    """A row a segment."""
    write_rows(stream, _HEADER, (_row(each.path, segment) for each in timelines for segment in each.segments))


def segments_file(csv_file: Path) -> Path:
    """Where segments go, beside the windows: ``out.csv`` has ``out_segments.csv``."""
    return csv_file.with_name(f"{csv_file.stem}_segments{csv_file.suffix}")


def write_timelines(timelines: Sequence[VideoTimeline], csv_file: Path | None, json_file: Path | None) -> None:
    """Write windows and segments to whole files; None is nowhere.

    Raises:
        KineflowError: The disk is full.
    """
    if csv_file is not None:
        with whole(csv_file) as stream:
            windows_csv(timelines, stream)
        with whole(segments_file(csv_file)) as stream:
            segments_csv(timelines, stream)
    if json_file is not None:
        with whole(json_file) as stream:
            write_json(stream, [timeline.plain() for timeline in timelines])


def _row(path: str, part: Labelled) -> list[object]:
    return [path, part.label, part.score, round(part.start_sec, _DIGITS), round(part.end_sec, _DIGITS)]


def _plain(part: Labelled) -> dict[str, Any]:
    return dict(zip(_HEADER[1:], _row("", part)[1:], strict=True))
