"""Torch's files are read whole or refused; none takes more memory than it has bytes."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from kineflow.models.weights import read_weights
from kineflow.storage.errors import KineflowError

STATE = {"module.a": torch.arange(6.0).reshape(2, 3), "module.b": torch.ones(1, dtype=torch.int64)}


@pytest.mark.parametrize("archive", [True, False])
def test_what_torch_wrote_is_read(tmp_path: Path, archive: bool) -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1).state_dict()
    content = {
        "state_dict": OrderedDict(STATE),
        "epoch": 3,
        "optimiser": optimiser,
        "name": "é",
        "size": torch.Size([2]),
    }
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=archive)
    read = read_weights(tmp_path / "w.pth")
    assert torch.equal(read["a"], STATE["module.a"])
    assert torch.equal(read["b"], STATE["module.b"])


def rewrite(path: Path, change: Any, compression: int = zipfile.ZIP_STORED) -> None:
    """The same archive with each record changed, and compressed perhaps."""
    with zipfile.ZipFile(path) as archive:
        records = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in records:
            archive.writestr(name, change(name, content))


def with_bytes_behind(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def with_bytes_before(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" + b"\0" * 60 + path.read_bytes())


def with_a_bytearray(path: Path) -> None:
    call = b"\x80\x02cbuiltins\nbytearray\nI10000000000\n\x85R."
    rewrite(path, lambda name, content: call if name.endswith("data.pkl") else content)


def with_many_operations(path: Path) -> None:
    rewrite(path, lambda name, content: b"\x80\x02" + b"N0" * 300_000 + b"N." if name.endswith(".pkl") else content)


def of_one_number(path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(10**9)}, path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: rewrite(path, lambda _, content: content, zipfile.ZIP_DEFLATED), "is compressed"),
        (with_bytes_behind, "no list of records"),
        (with_bytes_before, "list of records"),
        (with_a_bytearray, "other things than tensors: 'builtins bytearray'"),
        (with_many_operations, "more than 500000 operations"),
        (of_one_number, "the file has not so many"),
        (lambda path: torch.save({"a": torch.zeros(2, 2).to_sparse()}, path), "other things than tensors"),
        (lambda path: torch.save({"a": torch.zeros(2, 2, device="meta")}, path), "other things than tensors"),
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "no list of records"),
        (lambda path: path.write_bytes(b"PK\x03\x04"), "no list of records"),
        (lambda path: path.write_bytes(pickle.dumps([pickle.Pickler])), "not readable as weights"),
        (lambda path: path.write_bytes(b""), "not readable as weights"),
    ],
    ids=[
        "compressed", "bytes behind", "bytes before", "bytearray", "operations", "expanded", "sparse", "meta",
        "cut", "empty archive", "pickle", "empty",
    ],
)  # fmt: skip
def test_other_files_are_refused(tmp_path: Path, spoil: Any, message: str) -> None:
    path = tmp_path / "w.pth"
    torch.save(STATE, path)
    spoil(path)
    with pytest.raises(KineflowError, match=message) as caught:
        read_weights(path)
    assert str(caught.value.where) == str(path)


def test_a_file_far_larger_than_the_network_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    with path.open("wb") as stream:
        stream.truncate(2**30 + 2000)  # no byte of it is on the disk
    with pytest.raises(KineflowError, match="larger than the"):
        read_weights(path, needed_bytes=100)
