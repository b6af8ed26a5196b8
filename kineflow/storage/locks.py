"""Locks of the operating system: they go with the process that holds them, however it ends, and with nothing else."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def open_lock(path: Path) -> int:
    """Open a file to be locked, made where it is missing; the descriptor is for the caller to close.

    Programs that this one starts do not inherit it, processes that it forks do.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)


def take_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file, or an open folder, at once; closing the descriptor gives the lock back.

    Args:
        descriptor: Of the file.
        shared: Beside others that share it.

    Returns:
        False where the file system has no locks: nothing keeps others away then.

    Raises:
        BlockingIOError: Another process holds it.
    """
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def is_held(path: Path) -> bool:
    """Whether a process holds the lock of a file or a folder; True where that cannot be known."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        return not take_lock(descriptor)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
