"""A model on disk: ``model.safetensors`` holds its weights, ``model.json`` all else that it takes to use it.

No code is stored and nothing is unpickled: a bundle is rebuilt from the name of its architecture and plain values, and
everything is checked before a byte of weights is read. Imports of torch are local, so that :func:`weights_digest`
serves tools that only describe models; :mod:`kineflow.models.card` is the other file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from kineflow.models.card import CARD_FILE, CARD_FORMAT, ModelCard, damaged, existing_file, load_card
from kineflow.models.safetensors_file import parts_of, read_header
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_folder

if TYPE_CHECKING:
    from kineflow.models.network import Network, VideoNetwork

WEIGHTS_FILE = "model.safetensors"


def save_bundle(folder: Path, network: Network, card: ModelCard) -> None:
    """Write the bundle of a model, whole or not at all; one that was there is replaced.

    Raises:
        KineflowError: ``card`` does not describe ``network``: what :func:`load_bundle` would build has other tensors.
    """
    from safetensors.torch import save_file

    from kineflow.models.network import require_same_tensors, shapes

    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    require_same_tensors(
        shapes(_blueprint(card).state_dict()),
        shapes(state),
        where=f"model card {card.name!r}",
        remedy="give the card the network's own architecture, hyper-parameters, classes and channels",
    )
    content = {"format": CARD_FORMAT, **dataclasses.asdict(card), "preprocessing": card.preprocessing.plain()}
    with atomic_folder(folder) as partial:
        save_file(state, partial / WEIGHTS_FILE)
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        (partial / CARD_FILE).write_text(text + "\n", encoding="utf-8")


def load_bundle(folder: Path) -> tuple[VideoNetwork, ModelCard]:
    """Rebuild a model on the CPU, in eval mode; torch's global generator is left as it was.

    Raises:
        KineflowError: Files are missing or damaged, weights and card do not fit each other, a weight is not finite, or
            it is a backbone.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    from kineflow.models.network import require_finite, require_same_tensors, shapes

    card = load_card(folder)
    weights = existing_file(folder, WEIGHTS_FILE)
    try:
        blueprint = _blueprint(card)
    except KineflowError as error:
        raise KineflowError(error.problem, where=folder / CARD_FILE, remedy=error.remedy) from None
    try:
        stored_shapes = {name: tuple(tensor.shape) for name, tensor in read_header(weights).items()}
        require_same_tensors(
            shapes(blueprint.state_dict()),
            stored_shapes,
            where=str(weights),
            remedy="use the files of one bundle together",
        )
        with safe_open(weights, framework="pt") as stored:
            state = {name: stored.get_tensor(name) for name in stored_shapes}
    except (SafetensorError, OSError, ValueError) as error:
        raise damaged(weights, error) from None
    require_finite(state, where=str(weights))
    with torch.random.fork_rng(devices=[]):
        network = _build(card)
    network.load_state_dict(state)
    return network.eval(), card


def weights_digest(folder: Path) -> str:
    """Hex SHA-256 of a bundle's tensors by name, dtype, shape and bytes, whatever else the file holds.

    Equal digests are equal weights, which is what makes registering idempotent. Torch is not imported.

    Raises:
        KineflowError: The weights are missing or damaged.
    """
    path = existing_file(folder, WEIGHTS_FILE)
    try:
        tensors = read_header(path)
        digest = hashlib.sha256()
        for name, tensor in sorted(tensors.items()):
            digest.update(json.dumps([name, tensor.dtype, list(tensor.shape)]).encode())
            for part in parts_of(path, tensor):
                digest.update(part)
    except (OSError, ValueError) as error:
        raise damaged(path, error) from None
    return digest.hexdigest()


def _build(card: ModelCard) -> VideoNetwork:
    from kineflow.models.registry import create_model

    try:
        return create_model(
            card.architecture,
            num_classes=len(card.classes),
            in_channels=len(card.preprocessing.mean),
            **card.hyperparameters,
        )
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise KineflowError(
            f"hyper-parameters {card.hyperparameters} build no {card.architecture!r}: {error}",
            remedy="correct the model card",
        ) from None


def _blueprint(card: ModelCard) -> VideoNetwork:
    """The network without memory for its weights, to compare names and shapes with."""
    import torch

    with torch.device("meta"):
        return _build(card)
