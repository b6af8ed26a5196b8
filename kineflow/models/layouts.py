"""Networks whose weights look alike, and that compute otherwise with them."""

from __future__ import annotations

from kineflow.storage.errors import KineflowError

_ALIKE = (frozenset({"resnet50", "resnet50_caffe"}), frozenset({"googlenet", "googlenet_caffe"}))


def is_other_layout(network: str, of_weights: str) -> bool:
    """Whether weights of one network are wrong for another, although names and shapes may fit.

    Args:
        network: That they are meant for, by its name; one of the user's own is never wrong.
        of_weights: The network that they are of; empty where it is not known.
    """
    return network != of_weights and any({network, of_weights} <= alike for alike in _ALIKE)


def require_layout(network: str, of_weights: str, *, where: str) -> None:
    """Check that weights are not of the network that looks like ``network``.

    Raises:
        KineflowError: They are.
    """
    if is_other_layout(network, of_weights):
        raise KineflowError(
            f"weights of {of_weights}, whose layers are laid out otherwise than those of {network}",
            where=where,
            remedy=f"choose {of_weights}, or give weights of {network}",
        )
