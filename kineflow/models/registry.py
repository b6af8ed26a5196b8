"""Networks by name: a thin register of plain keyword functions, as in timm.

Models take clips, backbones take images. A network is a file of this folder, which registers its functions when it is
imported, and is imported when a name is first asked for::

    @register_model
    def s3d(*, num_classes: int, in_channels: int = 3, width: float = 1.0, …) -> S3D: ...
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from kineflow.spec.plugins import Plugins
from kineflow.storage.errors import KineflowError

if TYPE_CHECKING:
    from kineflow.models.network import ImageNetwork, Network, VideoNetwork

BuildModel = TypeVar("BuildModel", bound="Callable[..., VideoNetwork]")
BuildBackbone = TypeVar("BuildBackbone", bound="Callable[..., ImageNetwork]")
AnyNetwork = TypeVar("AnyNetwork", bound="Network")

_MODELS: Plugins[Callable[..., VideoNetwork]] = Plugins("kineflow.models", "network")
_BACKBONES: Plugins[Callable[..., ImageNetwork]] = Plugins("kineflow.models", "backbone")


def register_model(build: BuildModel) -> BuildModel:
    """Make ``build`` known under its own name; all its parameters are keywords, ``num_classes`` among them."""
    _require_new(build.__name__, _BACKBONES)
    return _MODELS.register(build)


def register_backbone(build: BuildBackbone) -> BuildBackbone:
    """Make ``build`` known as :func:`register_model` does, as a network for images."""
    _require_new(build.__name__, _MODELS)
    return _BACKBONES.register(build)


def list_models() -> list[str]:
    """Names that :func:`create_model` knows, sorted."""
    return _MODELS.names()


def list_backbones() -> list[str]:
    """Names that :func:`create_backbone` knows, sorted."""
    return _BACKBONES.names()


def hyperparameters_of(name: str) -> list[str]:
    """Keywords that network ``name`` takes beside ``num_classes`` and ``in_channels``, sorted.

    Raises:
        KineflowError: No network has this name.
    """
    if name not in (known := [*list_models(), *list_backbones()]):
        raise KineflowError(f"no network is called {name!r}", remedy=f"choose one of: {', '.join(known)}")
    build: Callable[..., Network] = (_MODELS if name in list_models() else _BACKBONES).find(name)
    return sorted(inspect.signature(build).parameters.keys() - {"num_classes", "in_channels"})


def create_model(name: str, *, num_classes: int, in_channels: int = 3, **hyper: Any) -> VideoNetwork:
    """Build a network for clips, freshly initialised from torch's global generator.

    Args:
        name: One of :func:`list_models`.
        num_classes: K; 0 builds it without a classifier.
        in_channels: C, 3 for RGB and 2 for one flow frame.
        hyper: Further keywords of the network's own function.

    Raises:
        KineflowError: The name or a keyword is unknown, or a value is out of its range.
    """
    if name in list_backbones():
        raise KineflowError(
            f"{name!r} is a backbone, for images and not for clips",
            remedy=f"choose one of: {', '.join(list_models())}",
        )
    return _create(_MODELS.find, name, num_classes, in_channels, hyper)


def create_backbone(name: str, *, num_classes: int = 0, in_channels: int = 3, **hyper: Any) -> ImageNetwork:
    """Build a network for images, freshly initialised from torch's global generator.

    Args:
        name: One of :func:`list_backbones`.
        num_classes: K; 0 builds it without a classifier.
        in_channels: C, 3 for RGB and 2 for each flow frame of a stack.
        hyper: Further keywords of the network's own function.

    Raises:
        KineflowError: The name or a keyword is unknown, or a value is out of its range.
    """
    if name in list_models():
        raise KineflowError(
            f"{name!r} is a network for clips, and no backbone", remedy=f"choose one of: {', '.join(list_backbones())}"
        )
    return _create(_BACKBONES.find, name, num_classes, in_channels, hyper)


def _create(
    find: Callable[[str], Callable[..., AnyNetwork]],
    name: str,
    num_classes: int,
    in_channels: int,
    hyper: Mapping[str, Any],
) -> AnyNetwork:
    known = hyperparameters_of(name)
    if unknown := sorted(hyper.keys() - set(known)):
        raise KineflowError(
            f"network {name!r} has no hyper-parameter {', '.join(map(repr, unknown))}",
            remedy=f"choose among: {', '.join(known)}",
        )
    if num_classes < 0 or in_channels < 1:
        raise KineflowError(
            f"network {name!r} cannot have {num_classes} classes and {in_channels} input channels",
            remedy="give num_classes of at least 0 and in_channels of at least 1",
        )
    return find(name)(num_classes=num_classes, in_channels=in_channels, **hyper)


def _require_new(name: str, others: Plugins[Any]) -> None:
    if others.knows(name):
        raise ValueError(f"two networks are called {name!r}")
