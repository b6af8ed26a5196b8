"""A full disk is said in words, and nothing else is."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from kineflow.disk import naming_full_disk
from kineflow.errors import KineflowError


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named(code: int) -> None:
    with pytest.raises(KineflowError, match="some/folder: no space left"), naming_full_disk(Path("some/folder")):
        raise OSError(code, "full")


def test_other_errors_pass() -> None:
    with pytest.raises(PermissionError), naming_full_disk(Path("folder")):
        raise PermissionError(errno.EACCES, "not yours")
    with pytest.raises(ValueError, match="plain"), naming_full_disk(Path("folder")):
        raise ValueError("plain")
