"""A lease on a shared volume: one worker at a time, and the next one when that has died.

No clocks are compared and no lock of the file system is relied on (those of network file systems differ): the owner
keeps changing a small file, and a waiter that has seen no change for a while takes the lease over. In rare races two
may believe to own it; the work must allow that, the lease only keeps it from being done twice as a rule.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SIGNS_IN_A_WAIT = 6  # of life, so that a few may be late
_LONGEST_POLL_SEC = 5.0


@contextmanager
def lease(path: Path, *, stale_sec: float, until: Callable[[], bool]) -> Iterator[bool]:
    """Own the lease at ``path`` inside the block.

    Args:
        path: A file that is there while somebody owns the lease.
        stale_sec: An owner who shows no sign of life for this long is taken for dead.
        until: Asked while waiting for another owner: whether that one has finished the work.

    Yields:
        True for the owner; False when ``until`` came true first.

    Raises:
        OSError: The lease cannot be written.
    """
    token = uuid.uuid4().hex
    if not _acquire(path, token, stale_sec, until):
        yield False
        return
    stop = threading.Event()
    beating = threading.Thread(target=_beat, args=(path, token, stale_sec / _SIGNS_IN_A_WAIT, stop), daemon=True)
    beating.start()
    try:
        yield True
    finally:
        stop.set()
        beating.join()
        if _owner(path) == token:
            path.unlink(missing_ok=True)


def _acquire(path: Path, token: str, stale_sec: float, until: Callable[[], bool]) -> bool:
    last_sign, unchanged_since = "", time.monotonic()
    while not until():
        path.parent.mkdir(parents=True, exist_ok=True)  # the last owner may have removed it
        with suppress(FileExistsError, FileNotFoundError):
            with path.open("x") as file:
                file.write(f"{token} 0")
            return True
        sign = _read(path)
        if sign != last_sign:
            last_sign, unchanged_since = sign, time.monotonic()
        elif time.monotonic() - unchanged_since > stale_sec:
            with suppress(OSError):  # another waiter was faster
                aside = path.with_name(f"{path.name}-{token}")
                path.rename(aside)  # of several waiters only one succeeds
                aside.unlink()
            last_sign, unchanged_since = "", time.monotonic()
            continue
        time.sleep(min(stale_sec / _SIGNS_IN_A_WAIT / 2, _LONGEST_POLL_SEC))
    return False


def _beat(path: Path, token: str, every_sec: float, stop: threading.Event) -> None:
    count = 0
    while not stop.wait(every_sec):
        if _owner(path) != token:
            return  # taken over: this process had been asleep for too long
        count += 1
        with suppress(OSError):  # a moment without the volume is no reason to fail
            partial = path.with_name(f"{path.name}-{token}")
            partial.write_text(f"{token} {count}")
            partial.replace(path)


def _owner(path: Path) -> str:
    return _read(path).partition(" ")[0]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
