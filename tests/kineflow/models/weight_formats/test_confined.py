from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from kineflow.models.weight_formats.confined import read_confined
from kineflow.storage.errors import KineflowError
from tests.kineflow.models.weight_files import caffemodel


def test_what_a_reader_gives_comes_back_as_tensors(tmp_path: Path) -> None:
    kernel = np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3))
    np.savez(tmp_path / "a.npz", kernel=kernel)
    read = read_confined(tmp_path / "a.npz")
    assert torch.equal(read["kernel"], torch.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize("name", ["a.caffemodel", "a.mat", "a.npz", "a.caffemodel.v5"])
def test_a_damaged_file_is_one_message(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(caffemodel({"c": [np.ones(3)]})[:-1])
    with pytest.raises(KineflowError, match=r"not readable as a file of (Caffe|MatConvNet|Theano): ") as raised:
        read_confined(tmp_path / name)
    assert raised.value.remedy
    assert str(raised.value).count("\n") == 1


def test_code_in_the_folder_at_hand_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "a.npz", kernel=np.ones(3, np.float32))
    (tmp_path / "numpy.py").write_text("import os; os.mkdir('attacked'); raise ImportError")
    monkeypatch.chdir(tmp_path)
    assert read_confined(Path("a.npz")).keys() == {"kernel"}
    assert not (tmp_path / "attacked").exists()
