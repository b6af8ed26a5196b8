from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kineflow.models.weight_formats.caffe import read_caffe
from tests.kineflow.models.weight_files import blob, caffemodel, field, varint

KERNEL = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
BIAS = np.array([0.5, -1.0], np.float32)
FILE = caffemodel({"data": [], "conv1/7x7_s2": [KERNEL, BIAS]})


@pytest.mark.parametrize("form", [0, 1, 2])
def test_layers_of_every_form_give_their_blobs(tmp_path: Path, form: int) -> None:
    (tmp_path / "a.caffemodel").write_bytes(caffemodel({"data": [], "conv1/7x7_s2": [KERNEL, BIAS]}, form=form))
    read = read_caffe(tmp_path / "a.caffemodel")
    assert list(read) == ["conv1/7x7_s2.0", "conv1/7x7_s2.1"]
    np.testing.assert_array_equal(read["conv1/7x7_s2.0"], KERNEL)
    np.testing.assert_array_equal(read["conv1/7x7_s2.1"].flatten(), BIAS)


def test_doubles_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.caffemodel").write_bytes(field(100, field(1, b"c") + field(7, blob(KERNEL, double=True))))
    np.testing.assert_array_equal(read_caffe(tmp_path / "a.caffemodel")["c.0"], KERNEL)


def test_a_file_that_is_cut_short_anywhere_is_refused_or_has_whole_layers(tmp_path: Path) -> None:
    path = tmp_path / "a.caffemodel"
    for length in range(len(FILE)):
        path.write_bytes(FILE[:length])
        with pytest.raises(ValueError):
            read_caffe(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no layer has weights"),
        (b"PK\x03\x04 an archive", "which there is not|are left"),
        (
            field(100, field(1, b"c") + field(7, field(5, b"\0" * 8) + b"\x08\x05")),
            r"shape \[5, 1, 1, 1\] with 8 bytes",
        ),
        (FILE + FILE, "two layers are called 'conv1/7x7_s2'"),
        (varint(1 << 3 | 2) + varint(1 << 60), "where 0 are left"),
        (b"\x08" + b"\xff" * 20, "does not end"),
        (b"\x08\x01" * 200_001, "more than 200000 fields"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.caffemodel").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read_caffe(tmp_path / "a.caffemodel")
