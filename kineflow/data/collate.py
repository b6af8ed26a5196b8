"""Samples to a batch, in the layout that they lie in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def collate(samples: Sequence[Any]) -> dict[str, Any]:
    """Each tensor of the samples with a leading batch dimension; of anything else, a list.

    Decoded frames lie with their channels last, and so does their batch: nothing is transposed on the way to
    convolutions that work in that layout.
    """
    return {name: _together([sample[name] for sample in samples]) for name in samples[0]}


def _together(parts: list[Any]) -> Any:
    return _stacked(parts) if isinstance(parts[0], Tensor) else parts


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    as_they_lie = [part.movedim(0, -1) for part in parts] if parts[0].ndim == 4 else []
    if as_they_lie and all(part.is_contiguous() for part in as_they_lie):
        return torch.stack(as_they_lie).movedim(-1, 1)
    return torch.stack(list(parts))
