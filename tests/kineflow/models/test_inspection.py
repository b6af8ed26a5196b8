"""Files are written here in each form that is read, with tensors that are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from kineflow.models.inspection import inspect_weights
from kineflow.models.normalisation import LITE
from kineflow.models.registry import create_backbone
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2, dtype=torch.float16)}
FORMS: dict[str, Callable[[Any, Path], Any]] = {
    "w.safetensors": save_file,
    "w.pth": torch.save,
    "pytorch_model.bin": torch.save,
    "tsn.pth.tar": torch.save,
    "old.pt": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    "checkpoint.pth": lambda state, path: torch.save(
        {"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, path
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_tells_its_tensors(tmp_path: Path, name: str) -> None:
    FORMS[name](TENSORS, tmp_path / name)
    seen = inspect_weights(tmp_path / name)
    assert dict(seen.tensors) == {"a.weight": ("float32", (2, 3)), "a.bias": ("float16", (2,))}
    assert (seen.numbers, seen.sha256) == (8, sha256_of(tmp_path / name))
    assert (seen.fits, seen.classes, seen.takes) == ((), 0, None)
    assert seen.form == {"w.safetensors": "safetensors", "old.pt": "PyTorch's, of before 1.6"}.get(
        name, "PyTorch's archive"
    )


def test_a_network_is_known_by_its_tensors_and_a_published_file_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "efficientnet-lite0-57934424.pth"
    torch.save(create_backbone("efficientnet_lite0", num_classes=7).state_dict(), path)
    seen = inspect_weights(path)
    assert (seen.fits, seen.classes, seen.takes) == (("efficientnet_lite0",), 7, LITE)


@pytest.mark.parametrize("content", [{"a": print}, [1, 2]])
def test_what_is_no_table_of_tensors_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(KineflowError):
        inspect_weights(tmp_path / "w.pth")
    with pytest.raises(KineflowError, match="no such file"):
        inspect_weights(tmp_path / "none.pth")
