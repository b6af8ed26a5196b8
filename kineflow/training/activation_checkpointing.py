"""Training in less memory and more time: networks that compute their stages again for the backward pass."""

from __future__ import annotations

from torch import nn

from kineflow.models.network import Network
from kineflow.storage.errors import KineflowError


def checkpoint_activations(network: nn.Module) -> None:
    """Have a network, or the one within it, keep of each stage only what it was given.

    Raises:
        KineflowError: It does not say where its stages begin.
    """
    networks = [each for each in network.modules() if isinstance(each, Network) and each.has_separate_stages]
    if not networks:
        raise KineflowError(
            f"{type(network).__name__} does not say what of it could be computed again",
            remedy="set activation_checkpointing to false, or run its stages by run_stage (docs/extend.md)",
        )
    for each in networks:
        each.recomputes = True
