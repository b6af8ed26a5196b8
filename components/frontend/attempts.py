"""Attempts at one task on a cluster: what ended as a user's mistake ends the next attempt at once, in the same words.

Argo tries a failed task again, and cannot tell why it failed: Kubeflow's launcher turns every exit code into 1. So an
attempt that meets a mistake leaves word on the shared volume, in a folder of the run, and those after it stop at once.
The first attempt forgets what is there: a run that somebody tries again by hand begins anew. Anything else (a lost
machine, memory, a server out of sight) leaves no word and is tried again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from components.launch.kept_work import VOLUME
from kineflow.storage.errors import MISTAKE, KineflowError
from kineflow.storage.files import atomic_file
from kineflow.storage.safe_json import read_json
from kineflow.tracking.run_variables import RUN_ID

NODE = "KINEFLOW_NODE"
"""The environment variable with a pod's place in Argo's graph, as ``d3d-x.root.train.executor(1)``; the end counts."""

_ATTEMPT = re.compile(r"\((\d+)\)$")
_RUN = re.compile(r"\w[\w.-]*", re.ASCII)
_FOLDER, _MOST_BYTES = "mistakes", 1 << 16
_LOG = logging.getLogger("kineflow")


@contextmanager
def stopping_after_a_mistake() -> Iterator[None]:
    """Run an attempt; nothing but the block where this is none of several.

    Raises:
        KineflowError: Of the block, or of an attempt before this one.
    """
    mark, attempt = _mark()
    if mark is None:
        yield
        return
    if attempt == 0:
        with suppress(OSError):
            mark.unlink(missing_ok=True)
    elif (mistake := _left(mark)) is not None:
        _LOG.info("an attempt before this one ended with a mistake, which another would only repeat:")
        raise mistake
    try:
        yield
    except KineflowError as error:
        if error.exit_code == MISTAKE:
            _leave(mark, error)
        raise


def forget_mistakes() -> None:
    """Remove what the attempts of this run have left."""
    if folder := _folder():
        shutil.rmtree(folder, ignore_errors=True)


def _mark() -> tuple[Path | None, int]:
    """Where this task leaves word, and the number of this attempt, from 0; no place where it is not tried again."""
    folder, node = _folder(), os.environ.get(NODE, "")
    attempt = _ATTEMPT.search(node)
    if folder is None or attempt is None:
        return None, 0
    name = hashlib.sha256(node[: attempt.start()].encode()).hexdigest()
    return folder / f"{name}.json", int(attempt[1])


def _folder() -> Path | None:
    volume, run = os.environ.get(VOLUME, ""), os.environ.get(RUN_ID, "")
    return Path(volume) / _FOLDER / run if volume and _RUN.fullmatch(run) else None


def _left(mark: Path) -> KineflowError | None:
    try:
        found = read_json(mark, max_bytes=_MOST_BYTES)
        words = {key: found.get(key) for key in ("problem", "where", "remedy")}
    except (OSError, ValueError, KineflowError, AttributeError):  # none, or half of one
        return None
    return KineflowError(str(words["problem"]), where=words["where"], remedy=words["remedy"])


def _leave(mark: Path, error: KineflowError) -> None:
    where = None if error.where is None else str(error.where)
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(mark) as partial:
            partial.write_text(json.dumps({"problem": error.problem, "where": where, "remedy": error.remedy}))
    except (OSError, KineflowError) as trouble:
        _LOG.warning("this mistake cannot be noted, so the step is tried again: %s", trouble)
