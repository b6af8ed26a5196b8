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


@pytest.mark.parametrize(
    "words",
    [
        "Caught RuntimeError in DataLoader worker process 0.\nRuntimeError: unable to allocate shared memory(shm) for "
        "file </torch_16374_1475931177_0>: No space left on device (28)",
        "unable to write to file </torch_12_345_0>: No space left on device (28)",
        "DataLoader worker (pid 81) is killed by signal: Bus error. It is possible that dataloader's workers are out "
        "of shared memory. Please try to raise your shared memory limit.",
    ],
)
def test_full_shared_memory_is_no_full_disk(words: str) -> None:
    with pytest.raises(KineflowError, match="shared memory is full") as caught, translate_full_disk(Path("folder")):
        raise RuntimeError(words)
    assert caught.value.exit_code == errno.ENOSPC
    assert "workers" in str(caught.value.remedy)
    assert "shm-size" in str(caught.value.remedy)


def test_full_shared_memory_is_told_from_the_error_that_another_was_raised_from() -> None:
    """As torch reports a loading process that has died."""
    killed = RuntimeError("DataLoader worker (pid 81) is killed by signal: Bus error. ")
    with pytest.raises(KineflowError, match="shared memory is full"), translate_full_disk(Path("folder")):
        raise RuntimeError("DataLoader worker (pid(s) 81) exited unexpectedly") from killed
