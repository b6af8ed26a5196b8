import errno
import os
from pathlib import Path

import av
import pytest

from kineflow.storage.config import read_yaml
from kineflow.storage.errors import MISTAKE, OUT_OF_SIGHT, KineflowError
from kineflow.video.decode import iter_luma


def test_an_error_reads_as_place_problem_remedy():
    error = KineflowError("no frame could be decoded", where=Path("a/b.mp4"), remedy="replace the file")
    assert str(error) == "a/b.mp4: no frame could be decoded\n  → replace the file"


def test_place_and_remedy_may_be_left_out():
    assert str(KineflowError("too late")) == "too late"
    assert KineflowError("too late").remedy is None


@pytest.mark.parametrize(
    ("number", "exit_code"), [(errno.ESTALE, OUT_OF_SIGHT), (errno.EIO, OUT_OF_SIGHT), (errno.EACCES, MISTAKE)]
)
def test_storage_out_of_reach_is_no_mistake(
    number: int, exit_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(KineflowError, match=os.strerror(number)) as raised:
        read_yaml(tmp_path / "params.yaml")
    assert raised.value.exit_code == exit_code
    assert ("can be reached" in str(raised.value)) == (exit_code == OUT_OF_SIGHT)


def test_ffmpegs_word_for_a_damaged_video_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object, **__: object) -> None:
        av.error.err_check(-errno.EIO)

    monkeypatch.setattr(av, "open", opened)
    with pytest.raises(KineflowError, match="not readable") as raised:
        next(iter_luma(tmp_path / "a.mp4"))
    assert raised.value.exit_code == MISTAKE
