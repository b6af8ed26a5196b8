"""What became of each tensor of a checkpoint, when a network made its own weights of it.

``adapt_checkpoint`` may rename tensors, cut them and compute with them. What it computes from a checkpoint's tensor
knows the names that it comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_iter

if TYPE_CHECKING:
    from torch import Tensor

    from kineflow.models.network import Network


@dataclass(frozen=True)
class Adapted:
    """A network's weights, as it makes them of a checkpoint.

    Attributes:
        tensors: By the network's names.
        origins: Names of the checkpoint that each was made of; none for what is the network's own.
    """

    tensors: dict[str, Tensor]
    origins: Mapping[str, frozenset[str]]


def adapt(network: Network, state: Mapping[str, Tensor]) -> Adapted:
    """What ``network`` makes of ``state``, and of which tensor each is made; neither is changed."""
    marked = {name: _marked(tensor, [name]) for name, tensor in state.items()}
    given = network.adapt_checkpoint(marked)
    return Adapted(
        {name: tensor.detach().as_subclass(torch.Tensor) for name, tensor in given.items()},
        {name: frozenset(_names_of(tensor)) for name, tensor in given.items()},
    )


class _FromCheckpoint(torch.Tensor):
    """A tensor that hands on, to what is computed from it, the names that it comes from."""

    names: frozenset[str] = frozenset()

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        made = super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]
        names = frozenset[str]().union(*(_names_of(value) for value in tree_iter((args, kwargs or {}))))
        for value in tree_iter(made):
            if isinstance(value, cls):
                value.names = names
        return made


def _marked(tensor: Tensor, names: Iterable[str]) -> _FromCheckpoint:
    marked = tensor.detach().as_subclass(_FromCheckpoint)
    marked.names = frozenset(names)
    return marked


def _names_of(value: object) -> frozenset[str]:
    return value.names if isinstance(value, _FromCheckpoint) else frozenset()
