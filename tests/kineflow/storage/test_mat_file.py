"""Files are written by scipy, which is independent of the reader."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from kineflow.storage.mat_file import read_mat
from tests.kineflow.models.weight_files import cells, matlab, structs

VARIABLES = {
    "kernel": np.asfortranarray(np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)),
    "whole": np.array([[1.0, 2.0, 300.0]]),
    "text": "conv1_1",
    "layers": cells([{"name": "a", "weights": cells([np.ones((2, 2), np.float32)])}, np.int16([[7]])]),
    "params": structs([{"name": "x", "value": np.float32([[1], [2]])}, {"name": "y", "value": np.zeros((0, 0))}]),
}


@pytest.mark.parametrize("compressed", [True, False])
def test_values_are_those_that_were_written(tmp_path: Path, compressed: bool) -> None:
    matlab(tmp_path / "a.mat", VARIABLES, compressed=compressed)
    read = read_mat(tmp_path / "a.mat")
    np.testing.assert_array_equal(read["kernel"], VARIABLES["kernel"])
    assert read["kernel"].dtype == np.float32
    np.testing.assert_array_equal(read["whole"], VARIABLES["whole"])
    assert read["text"] == "conv1_1"
    assert (read["layers"][0][0]["name"], read["layers"][0][0]["weights"][0].tolist()) == ("a", [[1, 1], [1, 1]])
    assert read["layers"][1].tolist() == [[7]]
    assert [entry["name"] for entry in read["params"]] == ["x", "y"]
    assert read["params"][0]["value"].tolist() == [[1], [2]]


def test_numbers_that_are_stored_smaller_and_the_other_way_round_are_read(tmp_path: Path) -> None:
    """As MATLAB writes whole doubles, on a machine of the other order of bytes."""
    body = struct.pack(">IIII", 6, 8, 6, 0) + struct.pack(">IIii", 5, 8, 1, 3)
    body += struct.pack(">HHBxxx", 1, 1, ord("n")) + struct.pack(">HHBBBx", 3, 2, 4, 5, 6)
    (tmp_path / "a.mat").write_bytes(
        b"MATLAB 5.0 MAT-file".ljust(124) + b"\1\0MI" + struct.pack(">II", 14, len(body)) + body
    )
    read = read_mat(tmp_path / "a.mat")["n"]
    assert (read.tolist(), read.dtype) == ([[4, 5, 6]], np.float64)


def test_a_file_that_is_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    matlab(tmp_path / "whole.mat", {"layers": VARIABLES["layers"]}, compressed=False)
    whole = (tmp_path / "whole.mat").read_bytes()
    for length in range(129, len(whole), 3):
        (tmp_path / "a.mat").write_bytes(whole[:length])
        with pytest.raises(ValueError):
            read_mat(tmp_path / "a.mat")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n", "'-v7'"),
        (b"not MATLAB", "no MATLAB file"),
        (b"\0" * 128, "no MATLAB file"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read_mat(tmp_path / "a.mat")


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(300)) + packer.flush()
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
    (tmp_path / "a.mat").write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(ValueError, match="unpacks to more"):
        read_mat(tmp_path / "a.mat")


def test_an_array_of_nothing_without_end_is_refused(tmp_path: Path) -> None:
    """A struct array of a billion entries without fields takes a hundred bytes."""
    body = struct.pack("<IIII", 6, 8, 2, 0) + struct.pack("<IIii", 5, 8, 1 << 15, 1 << 15)
    body += struct.pack("<HHBxxx", 1, 1, ord("n")) + struct.pack("<HHi", 5, 4, 8) + struct.pack("<II", 1, 0)
    (tmp_path / "a.mat").write_bytes(
        b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + struct.pack("<II", 14, len(body)) + body
    )
    with pytest.raises(ValueError, match="more than 500000"):
        read_mat(tmp_path / "a.mat")
