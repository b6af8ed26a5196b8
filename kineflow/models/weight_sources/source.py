"""What is known of a publisher's files: how to tell them, what their tensors are called here, what they take."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kineflow.models.normalisation import Normalisation

if TYPE_CHECKING:
    from torch import Tensor

Tensors = Mapping[str, "Tensor"]


@dataclass(frozen=True)
class Source:
    """A kind of files.

    Attributes:
        title: Whose they are, in words.
        network: That they are of.
        holds: Whether a file with tensors of these names is one of them.
        renamed: The tensors by the names, and in the layout, of the network, without what it does not need; what is
            not known keeps its name. They may be on the meta device. Fails by a LookupError, ValueError, TypeError or
            RuntimeError where a tensor is missing or of another shape.
        takes: How RGB frames become the input of such a file; None of one that takes flow, or where it is not known.
    """

    title: str
    network: str
    holds: Callable[[Collection[str]], bool]
    renamed: Callable[[Tensors], dict[str, Tensor]]
    takes: Callable[[Tensors], Normalisation | None]


def sees_rgb(kernel: Tensor) -> bool:
    """Whether a first kernel, [out,in,…], has three input channels."""
    return kernel.ndim > 1 and kernel.shape[1] == 3
