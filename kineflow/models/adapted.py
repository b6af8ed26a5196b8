"""What became of each tensor of a checkpoint, when a network made its own weights of it.

Files of others are first brought to the network's names (:mod:`kineflow.models.weight_sources`). Then
``adapt_checkpoint`` may rename tensors, cut them and compute with them. What either computes from a checkpoint's tensor
knows the names that it comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_iter

from kineflow.models.weight_sources import source_of
from kineflow.storage.errors import KineflowError, first_line

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
    """What ``network`` makes of ``state``, and of which tensor each is made; neither is changed.

    Raises:
        KineflowError: A file of others lacks a tensor, or has one of another shape.
    """
    marked = {name: _marked(tensor, [name]) for name, tensor in state.items()}
    given = network.adapt_checkpoint(renamed(marked))
    return Adapted(
        {name: tensor.detach().as_subclass(torch.Tensor) for name, tensor in given.items()},
        {name: frozenset(_names_of(tensor)) for name, tensor in given.items()},
    )


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of somebody's file by our names; those of nobody that is known as they are.

    Raises:
        KineflowError: A tensor is missing, or of another shape.
    """
    source = source_of(state)
    if source is None:
        return dict(state)
    try:
        return source.renamed(state)
    except (LookupError, ValueError, TypeError, RuntimeError) as error:
        raise KineflowError(
            f"has the names of {source.title}, and a tensor is missing or of another shape: {first_line(error)}",
            remedy="give the whole file, as it was published",
        ) from None


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
