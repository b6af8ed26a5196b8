"""A full disk, said in words."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kineflow.errors import KineflowError


@contextmanager
def naming_full_disk(folder: Path) -> Iterator[None]:
    """Turn "no space left on device" and "quota exceeded", FFmpeg's too, into an error that names ``folder``.

    Raises:
        KineflowError: The block ran out of disk space.
    """
    try:
        yield
    except Exception as error:
        if getattr(error, "errno", None) not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise KineflowError(
            "no space left on the disk", where=folder, remedy="free some, and run again: finished work is kept"
        ) from None
