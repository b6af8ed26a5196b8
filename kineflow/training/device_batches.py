"""Batches on the way to the device that learns from them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import cast

import torch

from kineflow.training.tasks import Batch, on_device


def device_batches(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches on ``device``; on a GPU each is copied while it computes with the one before.

    Batches should lie in pinned memory then.
    """
    if device.type == "cpu":
        for batch in batches:
            yield on_device(batch, device)
        return
    copying = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    under_way: deque[tuple[Batch, torch.cuda.Event]] = deque()
    for batch in batches:
        with torch.cuda.stream(copying):
            moved = on_device(batch, device)
        under_way.append((moved, copying.record_event()))
        if len(under_way) > 1:
            yield _arrived(*under_way.popleft())
    while under_way:
        yield _arrived(*under_way.popleft())


def _arrived(batch: Batch, copied: torch.cuda.Event) -> Batch:
    """A batch that the device's current stream may read once it gets there; the host does not wait."""
    computing = torch.cuda.current_stream()
    computing.wait_event(copied)
    for values in cast(dict[str, torch.Tensor], batch).values():
        values.record_stream(computing)  # or its memory would be given to the next copy while it is read
    return batch
