"""What happens in videos, by a registered model, that of a run, or a bundle in a folder or on S3."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kineflow.storage.errors import KineflowError

if TYPE_CHECKING:
    from torch import nn

    from kineflow.evaluation.view_protocol import ViewProtocol
    from kineflow.models.card import ModelCard
    from kineflow.serving.answers import Answer
    from kineflow.serving.named_videos import NamedVideo

STDOUT = Path("-")

_MISTAKE = 2
_LOG = logging.getLogger("kineflow")  # whose lines the front ends show


def top_classes(video: Path, model: str, top: int, clips: int | None = None) -> list[tuple[str, float]]:
    """The ``top`` likeliest classes of a video and their probabilities, likeliest first.

    Args:
        video: A video file.
        model: See :func:`kineflow.registry.named_model.named_bundle`.
        top: How many classes.
        clips: As of :func:`predict_videos`.

    Raises:
        KineflowError: The video or the model cannot be read.
    """
    return list(_top(video, loaded(model, clips), top))


def predict_videos(
    named: Sequence[str],
    model: str,
    *,
    top: int,
    clips: int | None = None,
    csv_file: Path | None,
    json_file: Path | None,
    say: Callable[[str], None],
) -> None:
    """Answer to every video that is named; one that cannot be read is an answer with its reason.

    Args:
        named: See :func:`kineflow.serving.named_videos.find_videos`.
        model: See :func:`kineflow.registry.named_model.named_bundle`; it is loaded once.
        top: How many classes of each.
        clips: Windows to see of each, its centre, in place of what the model was tested by; None for that.
        csv_file, json_file: Where the answers are written to; ``-`` is standard output, None nowhere. They are whole at
            any time, also where the run is interrupted.
        say: Takes the lines for people.

    Raises:
        KineflowError: The model cannot be read, or a video could not: all others are answered first.
    """
    from kineflow.serving.answers import KeptAnswers, answers_csv, write_json
    from kineflow.serving.named_videos import find_videos
    from kineflow.storage.progress import track

    check_outputs(csv_file, json_file)
    videos = find_videos(named)
    talks = STDOUT not in (csv_file, json_file)
    kept = KeptAnswers(written_file(csv_file), written_file(json_file))
    answering = loaded(model, clips)
    _LOG.info("%s", answering.words)
    tracked = track(videos, total=len(videos), what=f"predict {answering.card.name}", unit="video")
    try:
        for video in tracked if len(videos) > 1 else videos:
            answer = _answered(video, answering, top)
            kept.add(answer)
            if talks and len(videos) > 1:
                say(answer.line())
    finally:
        kept.write()
        if csv_file == STDOUT:
            answers_csv(kept.answers, sys.stdout)
        if json_file == STDOUT:
            write_json(sys.stdout, [answer.plain() for answer in kept.answers])
    if talks and len(videos) == 1:
        for label, score in kept.answers[0].top:
            say(f"{score:6.1%}  {label}")
    failed = [answer for answer in kept.answers if answer.error]
    if failed and len(videos) == 1:
        raise KineflowError(failed[0].error, where=failed[0].path, remedy="pass a whole video file, such as H.264 mp4")
    if failed:
        raise KineflowError(
            f"{len(failed)} of {len(videos)} videos have no answer, the first of them {failed[0].path}: "
            f"{failed[0].error}",
            remedy="the reasons stand beside their names; all others are answered",
        )


class Answering(NamedTuple):
    """A network in evaluation mode, its card, the views that it sees, and what those are worth, in words."""

    network: nn.Module
    card: ModelCard
    views: ViewProtocol
    words: str


def loaded(model: str, clips: int | None = None) -> Answering:
    """A model, and the views by which it was tested.

    Args:
        model: See :func:`kineflow.registry.named_model.named_bundle`.
        clips: Windows to see in place of those, the centre of each.

    Raises:
        KineflowError: There is no such model, or it cannot classify.
    """
    from kineflow.evaluation.view_protocol import centre_views
    from kineflow.models.bundle import load_bundle
    from kineflow.registry.named_model import named_bundle
    from kineflow.serving.predict import require_classes
    from kineflow.serving.tested import TESTED_FILE, UNTESTED, read_tested, words_of

    with named_bundle(model) as folder:
        network, card = load_bundle(folder)
        tested = read_tested(folder / TESTED_FILE)
    require_classes(card)
    views = tested.views if tested else UNTESTED
    return Answering(network, card, centre_views(clips) if clips else views, words_of(tested, clips))


def check_outputs(csv_file: Path | None, json_file: Path | None) -> None:
    """Check where the answers are to be written, before any work.

    Raises:
        KineflowError: Both are the same, or one is a folder.
    """
    if csv_file is not None and csv_file == json_file:
        place = "standard output" if csv_file == STDOUT else str(csv_file)
        raise KineflowError(f"CSV and JSON cannot both go to {place}", remedy="name a file for one of them")
    for path in filter(None, (written_file(csv_file), written_file(json_file))):
        if path.is_dir():
            raise KineflowError("a folder, where a file is to be written", where=path, remedy="name a file in it")


def written_file(path: Path | None) -> Path | None:
    """None for standard output, which is no file."""
    return None if path == STDOUT else path


def fault_of_video(error: KineflowError | OSError) -> str:
    """What is wrong with one video, in words.

    Raises:
        KineflowError: It is about what all of them need, such as room on a disk; an OSError likewise.
    """
    from kineflow.storage.disk import is_full_disk

    if isinstance(error, KineflowError):
        if error.exit_code != _MISTAKE:
            raise error
        return error.problem
    if is_full_disk(error):
        raise error
    return error.strerror or str(error)


def _answered(video: NamedVideo, answering: Answering, top: int) -> Answer:
    from kineflow.serving.answers import Answer
    from kineflow.storage.names import printable

    name = printable(video.name)
    try:
        with video.fetch() as path:
            return Answer(name, _top(path, answering, top))
    except (KineflowError, OSError) as error:
        return Answer(name, error=fault_of_video(error))


def _top(video: Path, answering: Answering, top: int) -> tuple[tuple[str, float], ...]:
    from kineflow.serving.predict import predict_video

    probabilities = predict_video(video, answering.network, answering.card, views=answering.views)
    ranked = sorted(zip(answering.card.classes, map(float, probabilities), strict=True), key=lambda pair: -pair[1])
    return tuple(ranked[:top])
