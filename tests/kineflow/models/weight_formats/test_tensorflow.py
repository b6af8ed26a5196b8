"""Checkpoints are written here in TensorFlow's format, with variables that are known."""

from __future__ import annotations

import contextlib
import re
import subprocess
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from numpy.typing import NDArray

from kineflow.models.weight_formats.crc32c import crc32c
from kineflow.models.weight_formats.tensorflow import read_tensorflow
from kineflow.models.weights import fetch_weights, read_weights
from kineflow.storage.errors import KineflowError
from tests.tensorflow_checkpoint import BFLOAT16, TEXT, table, write_checkpoint

RNG = np.random.default_rng(3)
VARIABLES: dict[str, NDArray[np.generic]] = {
    "InceptionV1/Conv2d_1a_7x7/weights": RNG.standard_normal((3, 7, 7, 3, 8)).astype("float32"),
    "InceptionV1/Conv2d_1a_7x7/BatchNorm/beta": RNG.standard_normal(8).astype("float32"),
    "double": RNG.standard_normal((2, 3)),
    "half": RNG.standard_normal(5).astype("float16"),
    "flag": np.array([True, False]),
    "bytes": np.arange(4, dtype="uint8"),
    "global_step": np.array(140_000, dtype="int64"),
    "none": np.zeros((0, 3), "float32"),
}


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("block_bytes", [1, 4096])
def test_what_is_written_is_read(tmp_path: Path, shards: int, block_bytes: int) -> None:
    index = write_checkpoint(tmp_path / "model.ckpt", VARIABLES, shards=shards, block_bytes=block_bytes)
    read = read_tensorflow(index)
    assert set(read) == set(VARIABLES)
    for name, values in VARIABLES.items():
        assert read[name].dtype == values.dtype
        np.testing.assert_array_equal(read[name], values)
    assert float(read_weights(index)["double"][1, 2]) == VARIABLES["double"][1, 2]


def test_brain_floats_are_widened_and_texts_left_out(tmp_path: Path) -> None:
    values = np.array([1.5, -2.0, 3e38], "float32")
    cut = (values.view(np.uint32) >> 16).astype(np.uint16)
    variables = {"w": cut, "graph": np.frombuffer(b"abc", "uint8")}
    read = read_tensorflow(write_checkpoint(tmp_path / "m", variables, kinds={"w": BFLOAT16, "graph": TEXT}))
    assert set(read) == {"w"}
    np.testing.assert_allclose(read["w"].astype("float64"), values, rtol=2**-7)


def test_checksums_are_those_of_another_library() -> None:
    content = RNG.integers(0, 256, 2**22 + 2**11 + 5, dtype=np.uint8).tobytes()
    for length in (0, 1, 2047, 2048, 4099, 2**22, 2**22 + 1, len(content)):
        assert crc32c(content[:length]) == google_crc32c.value(content[:length])


def test_no_byte_of_the_index_can_be_another_in_silence(tmp_path: Path) -> None:
    small = {"a": np.arange(3, dtype="float32"), "abc": np.arange(2, dtype="int32")}
    index = write_checkpoint(tmp_path / "model.ckpt", small, block_bytes=1)
    content = index.read_bytes()
    for place in range(len(content)):
        index.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        with contextlib.suppress(ValueError):  # else it is what no reader looks at
            read = read_tensorflow(index)
            assert all(np.array_equal(read[name], small[name]) for name in small)
    for length in range(len(content)):
        index.write_bytes(content[:length])
        with pytest.raises(ValueError):
            read_tensorflow(index)


def test_damaged_and_missing_bytes_are_told(tmp_path: Path) -> None:
    index = write_checkpoint(tmp_path / "model.ckpt", VARIABLES, shards=2)
    shard = tmp_path / "model.ckpt.data-00001-of-00002"
    content = shard.read_bytes()
    shard.write_bytes(content[:9] + bytes([content[9] ^ 1]) + content[10:])
    with pytest.raises(KineflowError, match=r"variable '\S+' in model.ckpt.data-00001-of-00002 has another checksum"):
        read_weights(index)
    shard.write_bytes(content[:-4])
    with pytest.raises(KineflowError, match="than the files have"):
        read_weights(index)
    shard.unlink()
    for read in (read_weights, lambda path: fetch_weights(str(path), sha256="0" * 64)):
        with pytest.raises(KineflowError, match=r"data-00001-of-00002 is not beside this one\n  → have all files"):
            read(index)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"header": b"\x08\x01\x10\x01"}, "highest byte first"),
        ({"header": b"\x08\x00"}, "in 0 files"),
        ({"header": b"\x0b"}, "kind 3"),
        ({"more": b"\x3a\x00"}, "in slices"),
        ({"more": b"\x18\x02"}, "file 2 of 1"),
        ({"more": b"\x28\xff\xff\xff\xff\x0f"}, "has 4294967295 bytes"),
        ({"kinds": {"a": 8}}, "type 8"),
    ],
)
def test_what_is_no_plain_tensor_is_refused(tmp_path: Path, said: dict[str, object], reason: str) -> None:
    index = write_checkpoint(tmp_path / "m", {"a": np.ones(3, "float32")}, **said)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=re.escape(reason)):
        read_tensorflow(index)


def test_many_variables_of_the_same_bytes_take_no_memory(tmp_path: Path) -> None:
    index = write_checkpoint(tmp_path / "m", {name: np.ones(100, "float32") for name in "abcdef"})
    (tmp_path / "m.data-00000-of-00001").write_bytes(bytes(500))
    with pytest.raises(ValueError, match="more bytes of variables than the files have"):
        read_tensorflow(index)
    index.write_bytes(table([(b"", b"\x08\x01")], kind=1))
    with pytest.raises(ValueError, match="compressed"):
        read_tensorflow(index)


def test_the_hash_is_that_of_all_files_in_a_row(tmp_path: Path) -> None:
    index = write_checkpoint(tmp_path / "model.ckpt", VARIABLES, shards=2)
    said = subprocess.run(
        "cat model.ckpt.index model.ckpt.data-* | sha256sum", shell=True, cwd=tmp_path, check=True, capture_output=True
    )
    sha256 = said.stdout.decode().split()[0]
    assert fetch_weights(str(index), sha256=sha256) == index
    shard = tmp_path / "model.ckpt.data-00001-of-00002"
    shard.write_bytes(shard.read_bytes()[::-1])
    with pytest.raises(KineflowError, match="sha256 is"):
        fetch_weights(str(index), sha256=sha256)
