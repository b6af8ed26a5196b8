"""A full disk, or full shared memory, said in words."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kineflow.storage.errors import KineflowError

_IN_WORDS = "No space left on device"  # safetensors and torch raise errors of their own around the system's words

# Of torch, whose loading processes hand clips over in files of their own on /dev/shm.
_SHARED_MEMORY_IN_WORDS = ("</torch_", "out of shared memory", "killed by signal: Bus error")
_SHARED_MEMORY = Path("/dev/shm")


@contextmanager
def translate_full_disk(folder: Path) -> Iterator[None]:
    """Turn "no space left on device" and "quota exceeded", native libraries' too, into an error that names ``folder``.

    Shared memory that is full is told from a disk that is.

    Raises:
        KineflowError: The block ran out of disk space, or of shared memory.
    """
    try:
        yield
    except KineflowError:
        raise
    except Exception as error:
        if not is_full_disk(error):
            raise
        raise no_space(error, folder) from None


def is_full_disk(error: BaseException) -> bool:
    """Whether the error, or the one that it was raised from, says that disk, quota or shared memory is exhausted."""
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or _IN_WORDS in str(error):
        return True
    if _is_full_shared_memory(error):
        return True
    return error.__cause__ is not None and is_full_disk(error.__cause__)


def no_space(error: BaseException, folder: Path | None = None) -> KineflowError:
    """The error to raise for one of which :func:`is_full_disk` holds; ``folder`` is where the block wrote."""
    if _is_full_shared_memory(error):
        return full_shared_memory()
    return full_disk(folder or getattr(error, "filename", None))


def full_shared_memory() -> KineflowError:
    """The error to raise where the memory is full by which loading processes hand clips over."""
    try:
        size = f" ({shutil.disk_usage(_SHARED_MEMORY).total / 1e6:.0f} MB)"
    except OSError:
        size = ""
    return KineflowError(
        f"shared memory is full{size}, by which loading processes hand clips over; the disk is not",
        where=_SHARED_MEMORY,
        remedy="load in the training's own process (workers: 0) or in fewer; or give the container more "
        "(docker run --shm-size 2g; in Kubernetes a volume on /dev/shm with medium Memory); "
        "then run the same again: finished work is kept",
        exit_code=errno.ENOSPC,
    )


def _is_full_shared_memory(error: BaseException) -> bool:
    if isinstance(error, RuntimeError) and any(words in str(error) for words in _SHARED_MEMORY_IN_WORDS):
        return True
    return error.__cause__ is not None and _is_full_shared_memory(error.__cause__)


def full_disk(where: Path | None) -> KineflowError:
    """The error to raise on a full disk."""
    return KineflowError(
        "no space left on the disk",
        where=where,
        remedy="free some, and run the same again: finished work is kept",
        exit_code=errno.ENOSPC,
    )
