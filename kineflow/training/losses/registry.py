"""Losses by name: what a network is told of its answers, clip by clip.

A loss is a file of this folder, or a module of the user's own, with one function of logits and labels, registered under
its own name, which ``loss`` of a training section gives::

    @register_loss
    def cross_entropy(logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor: ...
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Protocol, TypeVar

from kineflow.spec.plugins import Plugins, check_keywords

if TYPE_CHECKING:
    from torch import Tensor


class LabelLoss(Protocol):
    """A loss of labelled clips."""

    def __call__(self, logits: Tensor, labels: Tensor, /, **options: object) -> Tensor:
        """The mean over the clips, a scalar: what several processes get of their shards is averaged.

        Args:
            logits: float [N,K], N of 1 or more.
            labels: int64 [N], 0..K-1.
            options: The function's own keywords.
        """


CROSS_ENTROPY = "cross_entropy"  # where no other is named

AnyLoss = TypeVar("AnyLoss", bound=Callable[..., "Tensor"])

_LOSSES: Plugins[LabelLoss] = Plugins("kineflow.training.losses", "loss", "register_loss")


def register_loss(loss: AnyLoss) -> AnyLoss:
    """Make ``loss`` known under its own name; outside of this folder, by its dotted path."""
    return _LOSSES.register(loss)


def find_loss(name: str) -> LabelLoss:
    """The loss of this name.

    Raises:
        KineflowError: There is none.
    """
    return _LOSSES.find(name)


def check_loss(name: str) -> None:
    """Check the name of a loss; nothing is imported.

    Raises:
        KineflowError: There is none.
    """
    _LOSSES.declaration(name)


def check_options(name: str, given: Collection[str]) -> None:
    """Check the names of keywords for a loss, as far as its source says; nothing is imported.

    Raises:
        KineflowError: It takes no such keyword, or needs another.
    """
    check_keywords(_LOSSES.declaration(name), given)
