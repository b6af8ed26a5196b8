"""A network that starts from published weights, whether they are named, a file or a URL; and where they came from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kineflow.models.bundle import WEIGHTS_FILE
from kineflow.models.card import CARD_FILE, ModelCard, load_card
from kineflow.models.download import display_name, require_hash
from kineflow.models.named_weights import weights_file
from kineflow.models.normalisation import Normalisation, normalisation_of
from kineflow.models.stored_input import stored_input
from kineflow.models.weights import fetch_weights, load_weights, read_weights, weights_sha256, weights_within
from kineflow.models.weights_table import converted_from, is_named, weights_named
from kineflow.storage.errors import KineflowError

if TYPE_CHECKING:
    from kineflow.models.network import Network


def load_published(network: Network, checkpoint: str, sha256: str = "") -> tuple[dict[str, str], str]:
    """Fill ``network`` with published weights.

    Args:
        network: Changed in place.
        checkpoint: A name of :data:`kineflow.models.weights_table.TABLE`, a path, of a bundle's folder too, or a URL.
        sha256: Hex, of the file (of a bundle, of its weights); a name may do without.

    Returns:
        Its lineage, and a line that says what was loaded.

    Raises:
        KineflowError: The checkpoint cannot be had, is not the one expected, or does not fit the network.
    """
    name = display_name(checkpoint)
    needed = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    path = _file(checkpoint, sha256.lower())
    report = load_weights(network, read_weights(path, needed_bytes=needed), where=name)
    origin = {"initialised": "from checkpoint", "checkpoint": name, "checkpoint_sha256": sha256 or weights_sha256(path)}
    return origin, f"from {name}: {report}"


def from_scratch(seed: int) -> dict[str, str]:
    """The lineage of weights that were drawn."""
    return {"initialised": "from scratch", "seed": str(seed)}


def input_of(checkpoint: str, sha256: str = "") -> Normalisation | None:
    """What the weights of a checkpoint take for RGB frames; None if that is unknown.

    Published weights are known by their name, or their file's, or its hash, or by their tensors' names. A bundle of
    one's own says it in its card, and a file that was converted within itself.

    Args:
        checkpoint: A name of :data:`kineflow.models.weights_table.TABLE`, a path or a URL; empty for none.
        sha256: Hex, of the file; empty where it is not known.

    Raises:
        KineflowError: The card of the bundle is damaged, or the file is.
    """
    if is_named(checkpoint):
        return weights_named(checkpoint).normalisation
    if not checkpoint or "://" in checkpoint:
        return normalisation_of(checkpoint, sha256)
    weights = weights_within(Path(checkpoint).expanduser())
    return (
        _input_of_bundle(weights)
        or stored_input(weights)
        or normalisation_of(checkpoint, sha256)
        or _input_of_source(weights)
    )


def flow_card_of(checkpoint: str) -> ModelCard | None:
    """The card of a bundle that takes flow, by the path of its folder or its weights; None of other files.

    Raises:
        KineflowError: The card of the bundle is damaged, or its network does not take flow.
    """
    if not checkpoint or "://" in checkpoint:
        return None
    card = _card_beside(weights_within(Path(checkpoint).expanduser()))
    if card and card.preprocessing.modality not in ("flow", "warped_flow"):
        raise KineflowError(
            f"the model {card.name!r} takes {card.preprocessing.modality}, not flow",
            where=display_name(checkpoint),
            remedy="give a model that has learnt from flow, or leave it out",
        )
    return card


def _card_beside(weights: Path) -> ModelCard | None:
    """The card that lies beside the weights of a bundle; None of other files."""
    if weights.name != WEIGHTS_FILE or not (weights.parent / CARD_FILE).is_file():
        return None
    return load_card(weights.parent)


def _input_of_bundle(weights: Path) -> Normalisation | None:
    card = _card_beside(weights)
    if card is None or card.preprocessing.modality != "rgb":
        return None
    takes = card.preprocessing
    (red, green, blue), (of_red, of_green, of_blue) = takes.mean, takes.std
    return Normalisation((red, green, blue), (of_red, of_green, of_blue), takes.channel_order)


def _input_of_source(weights: Path) -> Normalisation | None:
    """By whose names the tensors have."""
    from kineflow.models.weight_sources import source_of

    if not weights.is_file() or converted_from(weights.name):
        return None
    state = read_weights(weights)
    known = source_of(state)
    return known.takes(state) if known else None


def _file(checkpoint: str, sha256: str) -> Path:
    if not is_named(checkpoint):
        return fetch_weights(checkpoint, sha256=sha256)
    path = weights_file(weights_named(checkpoint))
    if sha256:
        require_hash(path, sha256, where=str(path))
    return path
