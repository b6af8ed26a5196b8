"""Checkpoints whole or absent, and read as data: nothing in one can run code."""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from kineflow.storage.files import atomic_file

_LOG = logging.getLogger(__name__)


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


def discard_incomplete(last: Path, needs: Iterable[Path]) -> None:
    """Remove the checkpoint that a training would go on from, unless that and what it needs is all there.

    A folder of work that something has taken a part of is as good as none.

    Args:
        last: The checkpoint.
        needs: Files that go with it; checkpoints among them (``.ckpt``).
    """
    if not last.exists():
        return
    missing = [path.name for path in (last, *needs) if not _is_whole(path)]
    if missing:
        _LOG.warning("%s: incomplete (%s), so the training begins anew", last.parent, ", ".join(missing))
        last.unlink()


def _is_whole(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path) if path.suffix == ".ckpt" else path.stat().st_size > 0
    except OSError:
        return False
