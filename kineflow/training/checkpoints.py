"""Checkpoints whole or absent, and read as data: nothing in one can run code."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from kineflow.storage.files import atomic_file


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values; a full disk or a kill leaves the file as it was before.

    Raises:
        OSError: It cannot be written.
    """
    content = io.BytesIO()  # torch's own writer would hide why a disk takes no more
    torch.save(state, content)
    with atomic_file(path) as partial:
        partial.write_bytes(content.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote, its tensors on the CPU."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
