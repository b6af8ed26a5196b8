"""A training job that no launcher looks after ends by itself, within minutes.

The launcher touches the job's folder on the shared volume at every look (:meth:`JobFolder.keep_alive`). Each node looks
whether that goes on. Where it does not, the node leaves word in the folder, so that its container, which Kubernetes
starts again, and all other nodes end well: the job is complete, and its machines are free. A launcher that comes back
later finds the word, and starts the training anew, from its last checkpoint.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

ABANDONED_SEC = 900.0
"""How long a job goes on without its launcher: one that died is tried again within this time, and takes it over."""

_WORD = "abandoned"
_LOOK_SEC = 20.0
_LOG = logging.getLogger("kineflow")


def is_abandoned(folder: Path) -> bool:
    """Whether a node has left word that nobody looked after the job of this folder."""
    return (folder / _WORD).exists()


def forget_abandonment(folder: Path) -> None:
    """Remove the word of an earlier attempt: nodes would end at once otherwise."""
    (folder / _WORD).unlink(missing_ok=True)


def end_when_abandoned(folder: Path) -> None:
    """From now on, end this process with SIGTERM once nobody has touched the folder for :data:`ABANDONED_SEC`."""
    threading.Thread(target=_watch, args=(folder,), daemon=True).start()


def _watch(folder: Path) -> None:
    touched, seen_at = None, time.monotonic()  # of this machine alone: clocks of others may differ
    while not is_abandoned(folder):
        time.sleep(min(_LOOK_SEC, ABANDONED_SEC / 4))
        with suppress(OSError):
            latest = folder.stat().st_mtime_ns
            if latest != touched:
                touched, seen_at = latest, time.monotonic()
        if time.monotonic() - seen_at > ABANDONED_SEC:
            _LOG.warning("no step has looked after this training for %.0f minutes; it ends", ABANDONED_SEC / 60)
            with suppress(OSError):
                (folder / _WORD).touch()
            break
    os.kill(os.getpid(), signal.SIGTERM)
