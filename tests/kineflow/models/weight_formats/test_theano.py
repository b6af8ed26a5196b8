from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from kineflow.models.weight_formats.theano import read_theano


class Boom:
    def __reduce__(self) -> object:
        return (SystemExit, ("unpickled",))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_of_numbers_are_read_and_pickles_left_shut(tmp_path: Path, save: object) -> None:
    pickled = np.array([Boom()], dtype=object)
    matrix = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    save(tmp_path / "a.npz", zipped_params=pickled, decoder_W=matrix, scalar=np.float32(2))  # type: ignore[operator]
    read = read_theano(tmp_path / "a.npz")
    assert set(read) == {"decoder_W", "scalar"}
    np.testing.assert_array_equal(read["decoder_W"], matrix)
    assert read["scalar"] == 2


def test_what_is_no_archive_of_arrays_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, a=np.arange(50.0))
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError):
            read_theano(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f8',")
    with pytest.raises(ValueError):
        read_theano(path)
    np.savez(path, a=np.array([Boom()], dtype=object))
    with pytest.raises(ValueError, match="no arrays of numbers"):
        read_theano(path)
    np.savez(path, a=np.ones(3, np.longdouble))
    with pytest.raises(ValueError, match="differs from machine to machine"):
        read_theano(path)


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as out:
        for _ in range(300):
            out.write(bytes(2**20))
    with pytest.raises(ValueError, match="expands to more"):
        read_theano(tmp_path / "a.npz")
