from pathlib import Path

from kineflow.storage.errors import KineflowError


def test_an_error_reads_as_place_problem_remedy():
    error = KineflowError("no frame could be decoded", where=Path("a/b.mp4"), remedy="replace the file")
    assert str(error) == "a/b.mp4: no frame could be decoded\n  → replace the file"


def test_place_and_remedy_may_be_left_out():
    assert str(KineflowError("too late")) == "too late"
    assert KineflowError("too late").remedy is None
