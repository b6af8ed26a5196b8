"""A network that starts from published weights, whether they are named, a file or a URL; and where they came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kineflow.models.bundle import WEIGHTS_FILE
from kineflow.models.card import CARD_FILE, ModelCard, load_card
from kineflow.models.download import display_name, require_hash
from kineflow.models.layouts import require_layout
from kineflow.models.named_weights import weights_file
from kineflow.models.normalisation import Normalisation, normalisation_of
from kineflow.models.stored_input import stored_input, stored_network
from kineflow.models.weights import (
    fetch_weights,
    kept_download,
    load_weights,
    read_weights,
    weights_sha256,
    weights_within,
)
from kineflow.models.weights_table import converted_from, is_named, published_network, weights_named
from kineflow.storage.errors import KineflowError

if TYPE_CHECKING:
    from torch import Tensor

    from kineflow.models.network import Network


def load_published(network: Network, checkpoint: str, sha256: str = "", *, called: str) -> tuple[dict[str, str], str]:
    """Fill ``network`` with published weights.

    Args:
        network: Changed in place.
        checkpoint: A name of :data:`kineflow.models.weights_table.TABLE`, a path, of a bundle's folder too, or a URL.
        sha256: Hex, of the file (of a bundle, of its weights); a name may do without.
        called: The network's name, or that of its backbone.

    Returns:
        Its lineage, and a line that says what was loaded.

    Raises:
        KineflowError: The checkpoint cannot be had, is not the one expected, or does not fit the network.
    """
    name = display_name(checkpoint)
    needed = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    path = _file(checkpoint, sha256.lower())
    state = read_weights(path, needed_bytes=needed)
    require_layout(called, network_of(checkpoint, sha256, state), where=name)
    report = load_weights(network, state, where=name)
    origin = {"initialised": "from checkpoint", "checkpoint": name, "checkpoint_sha256": sha256 or weights_sha256(path)}
    return origin, f"from {name}: {report}"


def have_published(checkpoint: str, sha256: str) -> None:
    """Download the file of a URL, so that it can say what it takes; nothing is to be done for any other.

    Raises:
        KineflowError: It cannot be had, or is another.
    """
    if "://" in checkpoint:
        fetch_weights(checkpoint, sha256=sha256)


def from_scratch(seed: int) -> dict[str, str]:
    """The lineage of weights that were drawn."""
    return {"initialised": "from scratch", "seed": str(seed)}


def input_of(checkpoint: str, sha256: str = "") -> Normalisation | None:
    """What the weights of a checkpoint take for RGB frames; None if that is unknown.

    Published weights are known by their name, or their file's, or its hash, or by their tensors' names. A bundle of
    one's own says it in its card, and a file that was converted within itself. Of a URL only what was downloaded
    before is looked into: see :func:`have_published`.

    Args:
        checkpoint: A name of :data:`kineflow.models.weights_table.TABLE`, a path or a URL; empty for none.
        sha256: Hex, of the file; empty where it is not known.

    Raises:
        KineflowError: The card of the bundle is damaged, or the file is.
    """
    if is_named(checkpoint):
        return weights_named(checkpoint).normalisation
    weights = _here(checkpoint, sha256)
    if weights is None:
        return normalisation_of(checkpoint, sha256)
    return (
        _input_of_bundle(weights)
        or stored_input(weights)
        or normalisation_of(checkpoint, sha256)
        or _input_of_source(weights)
    )


def network_of(checkpoint: str, sha256: str = "", state: Mapping[str, Tensor] | None = None) -> str:
    """The network, or the backbone, that the weights of a checkpoint are of; empty where nothing says it.

    Args:
        checkpoint, sha256: See :func:`input_of`.
        state: Its tensors, where they have been read.

    Raises:
        KineflowError: The card of the bundle is damaged, or the file is.
    """
    from kineflow.models.weight_sources import source_of

    if known := published_network(checkpoint, sha256):
        return known
    weights = _here(checkpoint, sha256)
    if weights is None:
        return ""
    if card := _card_beside(weights):
        return str(card.hyperparameters.get("backbone", card.architecture))
    if stored := stored_network(weights):
        return stored
    source = source_of(_tensors(weights) if state is None else state)
    return source.network if source else ""


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

    state = _tensors(weights)
    known = source_of(state)
    return known.takes(state) if known else None


def _tensors(weights: Path) -> Mapping[str, Tensor]:
    """Those of the file; none where it is not here, or has to be converted first."""
    return {} if not weights.is_file() or converted_from(weights.name) else read_weights(weights)


def _here(checkpoint: str, sha256: str) -> Path | None:
    """Where the file of a path is, or of a URL that was downloaded."""
    if "://" not in checkpoint:
        return weights_within(Path(checkpoint).expanduser()) if checkpoint else None
    kept = kept_download(checkpoint, sha256)
    return kept if kept.is_file() else None


def _file(checkpoint: str, sha256: str) -> Path:
    if not is_named(checkpoint):
        return fetch_weights(checkpoint, sha256=sha256)
    path = weights_file(weights_named(checkpoint))
    if sha256:
        require_hash(path, sha256, where=str(path))
    return path
