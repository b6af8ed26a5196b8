"""Activation checkpointing (Chen et al. 2016): of a stage its inputs alone are kept for the backward pass, which then
runs the stage once more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

T = TypeVar("T")


def recomputed(stage: Callable[..., T], *inputs: Any, layers: Iterable[nn.Module], **options: Any) -> T:
    """``stage(*inputs, **options)``, whose way there is not kept.

    Dropout draws the same again, and normalisation counts the clips once.

    Args:
        stage: Changes none of its inputs in place.
        inputs: Tensors, and what else it takes.
        layers: All that it may run.
        options: Its keywords.
    """

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_held(layers)

    # What is compiled changes its statistics once, however often it is run.
    how: dict[str, Any] = {} if torch.compiler.is_compiling() else {"context_fn": contexts}
    result: T = checkpoint(stage, *inputs, use_reentrant=False, **how, **options)
    return result


@contextmanager
def _statistics_held(layers: Iterable[nn.Module]) -> Iterator[None]:
    """Within the block, batch normalisation normalises as ever and leaves its running statistics as they are."""
    norms = [layer for layer in layers if isinstance(layer, _BatchNorm)]
    held = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, held, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
