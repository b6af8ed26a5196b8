"""What happens when in long videos: ``kineflow predict --timeline``."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kineflow.storage.errors import KineflowError
from pipelines.predict import STDOUT, Answering, check_outputs, fault_of_video, loaded, written_file

if TYPE_CHECKING:
    from kineflow.models.card import ModelCard
    from kineflow.serving.timeline import Scored
    from kineflow.serving.timeline_segments import Labelled
    from kineflow.serving.timeline_tables import VideoTimeline


def predict_timelines(
    named: Sequence[str],
    model: str,
    *,
    step_sec: float | None,
    clips: int | None = None,
    threshold: float,
    csv_file: Path | None,
    json_file: Path | None,
    annotated: Path | None,
    say: Callable[[str], None],
) -> None:
    """Answer to every window of every video that is named.

    Args:
        named: See :func:`kineflow.serving.named_videos.find_videos`.
        model: See :func:`kineflow.registry.named_model.named_bundle`; it is loaded once.
        step_sec: From one window to the next; None: half a window.
        clips: Given, the centre of each window alone is seen; None: the crops by which the model was tested.
        threshold: Least score of a window that counts for a segment.
        csv_file, json_file: Where windows and segments are written to; ``-`` is standard output, None nowhere. They
            are whole, also where the run is interrupted, and hold what was answered until then.
        annotated: An mp4 of the video, there being one, with labels and scores on its pictures; None for none.
        say: Takes the lines for people.

    Raises:
        KineflowError: The model cannot be read, or a video could not: all others are answered first.
    """
    from kineflow.serving.answers import write_json
    from kineflow.serving.named_videos import find_videos
    from kineflow.serving.timeline_tables import VideoTimeline, windows_csv, write_timelines
    from kineflow.storage.names import printable

    check_outputs(csv_file, json_file)
    videos = find_videos(named)
    if annotated is not None and len(videos) != 1:
        raise KineflowError(f"--video is for one video, and there are {len(videos)}", remedy="name one of them")
    answering = loaded(model, clips)
    timelines: list[VideoTimeline] = []
    talks = STDOUT not in (csv_file, json_file)
    try:
        for video in videos:
            of_video = VideoTimeline(printable(video.name), threshold)
            timelines.append(of_video)
            try:
                with video.fetch() as path:
                    _answer(path, answering, of_video, step_sec)
                    if annotated is not None:
                        _annotate(path, annotated, of_video.windows, threshold)
            except (KineflowError, OSError) as error:
                of_video.error = fault_of_video(error)
            if talks:
                if len(videos) > 1:
                    say(f"{of_video.path}{': ' if of_video.error else ''}{of_video.error}")
                for line in of_video.lines():
                    say(line)
    finally:
        write_timelines(timelines, written_file(csv_file), written_file(json_file))
        if csv_file == STDOUT:
            windows_csv(timelines, sys.stdout)
        if json_file == STDOUT:
            write_json(sys.stdout, [each.plain() for each in timelines])
    failed = [each for each in timelines if each.error]
    if failed:
        raise KineflowError(
            f"{len(failed)} of {len(videos)} videos were not answered to their end, the first of them: "
            f"{failed[0].error}",
            where=failed[0].path,
            remedy="pass whole video files, such as H.264 mp4",
        )


def labelled(window: Scored, card: ModelCard) -> Labelled:
    """The best class of a window."""
    from kineflow.serving.timeline_segments import Labelled

    best = int(window.probabilities.argmax())
    return Labelled(card.classes[best], float(window.probabilities[best]), window.start_sec, window.end_sec)


def _answer(path: Path, answering: Answering, of_video: VideoTimeline, step_sec: float | None) -> None:
    from kineflow.serving.timeline import timeline
    from kineflow.storage.progress import track

    card, views = answering.card, answering.views
    windows: Iterator[Scored] = timeline(path, answering.network, card, step_sec=step_sec, views=views)
    if total := _stated_seconds(path):
        reached = 0

        def seconds(window: Scored) -> int:
            nonlocal reached
            before, reached = reached, max(reached, int(window.end_sec))
            return reached - before

        windows = track(windows, total=total, what=f"timeline {of_video.path}", unit="second", size=seconds)
    for window in windows:
        of_video.windows.append(labelled(window, card))


def _stated_seconds(path: Path) -> int:
    """How long a video is by its header; 0 where that does not say."""
    from kineflow.video.opening import open_video

    with open_video(path) as (container, _):
        return math.floor((container.duration or 0) / 1e6)


def _annotate(path: Path, output: Path, windows: Sequence[Labelled], threshold: float) -> None:
    from kineflow.serving.annotate import write_annotated
    from kineflow.serving.timeline_segments import answered_parts

    write_annotated(path, output, answered_parts(windows), threshold)
