"""What happens in a video that goes on: ``kineflow predict --follow``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TextIO

from kineflow.storage.credentials import mask_uri
from kineflow.storage.disk import translate_full_disk
from kineflow.storage.stopping import Stopped
from pipelines.predict import STDOUT, check_outputs, loaded
from pipelines.predict_timeline import labelled

_HEADER = ("path", "label", "score", "start_s", "end_s", "late_s", "dropped_frames")
_DIGITS = 3


def predict_follow(
    name: str,
    model: str,
    *,
    step_sec: float | None,
    clips: int | None = None,
    csv_file: Path | None,
    json_file: Path | None,
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> None:
    """Answer until the video ends, or Ctrl-C.

    Args:
        name: See :func:`kineflow.video.live.open_live`.
        model: See :func:`kineflow.registry.named_model.named_bundle`.
        step_sec: From one window to the next; None: half a window.
        clips: Given, the centre of each window alone is seen; None: the crops by which the model was tested.
        csv_file, json_file: Where a line is written for each answer, as it comes; ``-`` is standard output, None
            nowhere. The JSON is an object a line.
        say: Takes the lines for people.
        warn: Takes what is lost: frames dropped, connections broken.

    Raises:
        KineflowError: As :func:`kineflow.serving.follow.follow`.
    """
    from kineflow.serving.answers import write_row, write_rows
    from kineflow.serving.follow import follow

    check_outputs(csv_file, json_file)
    network, card, views, _ = loaded(model, clips)
    answers = dropped = 0
    shown = mask_uri(name)
    with ExitStack() as stack:
        table, objects = (stack.enter_context(_lines(path)) for path in (csv_file, json_file))
        if table is not None:
            write_rows(table, _HEADER, ())
        try:
            for answer in follow(name, network, card, step_sec=step_sec, views=views, say=warn):
                answers, dropped = answers + 1, dropped + answer.dropped_frames
                best = labelled(answer.window, card)
                times = [round(sec, _DIGITS) for sec in (best.start_sec, best.end_sec, answer.late_sec)]
                row = [shown, best.label, best.score, *times, answer.dropped_frames]
                if answer.dropped_windows:
                    warn(
                        f"{answer.dropped_windows} windows before {best.start_sec:.2f} s skipped, "
                        f"{answer.dropped_frames} frames dropped: the network is slower than the video"
                    )
                if STDOUT not in (csv_file, json_file):
                    say(f"{best.start_sec:9.2f} – {best.end_sec:9.2f} s  {best.score:6.1%}  {best.label}")
                if table is not None:
                    write_row(table, row)
                    table.flush()
                if objects is not None:
                    objects.write(json.dumps(dict(zip(_HEADER, row, strict=True)), ensure_ascii=False) + "\n")
                    objects.flush()
        except Stopped:
            raise
        except KeyboardInterrupt:  # the usual end of a stream
            pass
        finally:
            warn(f"{shown}: {answers} answers, {dropped} frames dropped")


@contextmanager
def _lines(path: Path | None) -> Iterator[TextIO | None]:
    if path is None or path == STDOUT:
        with nullcontext(None if path is None else sys.stdout) as stream:
            yield stream
        return
    with translate_full_disk(path.parent), path.open("w", encoding="utf-8", newline="") as stream:
        yield stream
