"""A full disk, said in words."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kineflow.storage.errors import KineflowError

_IN_WORDS = "No space left on device"  # safetensors and torch raise errors of their own around the system's words


@contextmanager
def translate_full_disk(folder: Path) -> Iterator[None]:
    """Turn "no space left on device" and "quota exceeded", native libraries' too, into an error that names ``folder``.

    Raises:
        KineflowError: The block ran out of disk space.
    """
    try:
        yield
    except KineflowError:
        raise
    except Exception as error:
        if not is_full_disk(error):
            raise
        raise full_disk(folder) from None


def is_full_disk(error: BaseException) -> bool:
    """Whether the error, or the one that it was raised from, says that the disk or the quota is exhausted."""
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or _IN_WORDS in str(error):
        return True
    return error.__cause__ is not None and is_full_disk(error.__cause__)


def full_disk(where: Path | None) -> KineflowError:
    """The error to raise on a full disk."""
    return KineflowError(
        "no space left on the disk",
        where=where,
        remedy="free some, and run the same again: finished work is kept",
        exit_code=errno.ENOSPC,
    )
