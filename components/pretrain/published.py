"""Where a network's first weights come from: a checkpoint, or nothing but a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kineflow.models.network import Network


def load_published(network: Network, checkpoint: str, sha256: str) -> tuple[dict[str, str], str]:
    """Fill ``network`` with the weights of a published checkpoint, a path or URL.

    Returns:
        Its lineage, and a line that says what was loaded.

    Raises:
        KineflowError: The checkpoint cannot be had, is not the one expected, or does not fit the network.
    """
    from kineflow.models.weights import display_name, fetch_weights, load_weights, read_weights

    shown = display_name(checkpoint)
    weights = read_weights(fetch_weights(checkpoint, sha256=sha256))
    report = load_weights(network, weights, where=shown)
    origin = {"initialised": "from checkpoint", "checkpoint": shown, "checkpoint_sha256": sha256}
    return origin, f"from {shown}: {report}"


def from_scratch(seed: int) -> dict[str, str]:
    """The lineage of weights that were drawn."""
    return {"initialised": "from scratch", "seed": str(seed)}
