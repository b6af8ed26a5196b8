"""A full disk is said in words, and nothing else is."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from kineflow.storage.disk import translate_full_disk
from kineflow.storage.errors import KineflowError


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named(code: int) -> None:
    with pytest.raises(KineflowError, match="some/folder: no space left"), translate_full_disk(Path("some/folder")):
        raise OSError(code, "full")


def test_a_native_librarys_full_disk_has_the_code_of_the_system() -> None:
    with pytest.raises(KineflowError) as caught, translate_full_disk(Path("folder")):
        raise RuntimeError("I/O error: No space left on device (os error 28)")
    assert caught.value.exit_code == errno.ENOSPC


def test_the_place_nearest_to_the_fault_is_named() -> None:
    with (
        pytest.raises(KineflowError, match=r"^inner: "),
        translate_full_disk(Path("outer")),
        translate_full_disk(Path("inner")),
    ):
        raise OSError(errno.ENOSPC, "full")


def test_other_errors_pass() -> None:
    with pytest.raises(PermissionError), translate_full_disk(Path("folder")):
        raise PermissionError(errno.EACCES, "not yours")
    with pytest.raises(ValueError, match="plain"), translate_full_disk(Path("folder")):
        raise ValueError("plain")
