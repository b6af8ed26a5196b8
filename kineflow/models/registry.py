"""Networks by name: a thin register of plain keyword functions, as in timm.

Models take clips, backbones take images. A network is a file of this folder, or a module of the user's own, which
registers its functions when it is imported, and is imported when its name is first asked for::

    @register_model
    def s3d(*, num_classes: int, in_channels: int = 3, width: float = 1.0, …) -> S3D: ...
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from kineflow.spec.plugins import Plugins, check_keywords
from kineflow.storage.errors import KineflowError

if TYPE_CHECKING:
    from kineflow.models.network import ImageNetwork, Network, VideoNetwork

BuildModel = TypeVar("BuildModel", bound="Callable[..., VideoNetwork]")
BuildBackbone = TypeVar("BuildBackbone", bound="Callable[..., ImageNetwork]")
AnyNetwork = TypeVar("AnyNetwork", bound="Network")

_FRAME_NETWORK = "register_frame_network"  # of kineflow.models.frame_networks
_MODELS: Plugins[Callable[..., VideoNetwork]] = Plugins("kineflow.models", "network", "register_model", _FRAME_NETWORK)
_BACKBONES: Plugins[Callable[..., ImageNetwork]] = Plugins("kineflow.models", "backbone", "register_backbone")
_OF_ALL = ("num_classes", "in_channels")


def register_model(build: BuildModel) -> BuildModel:
    """Make ``build`` known under its own name; all its parameters are keywords, ``num_classes`` among them.

    A function outside of ``kineflow.models`` goes by its dotted path, e.g. ``my_package.my_network``.
    """
    _require_new(build, _BACKBONES)
    return _MODELS.register(build)


def register_backbone(build: BuildBackbone) -> BuildBackbone:
    """Make ``build`` known as :func:`register_model` does, as a network for images."""
    _require_new(build, _MODELS)
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
    build: Callable[..., Network] = _register_of(name).find(name)
    return sorted(inspect.signature(build).parameters.keys() - set(_OF_ALL))


def default_hyperparameters(name: str) -> dict[str, Any]:
    """Defaults of those of :func:`hyperparameters_of` that have one.

    Raises:
        KineflowError: No network has this name.
    """
    build: Callable[..., Network] = _register_of(name).find(name)
    parameters = inspect.signature(build).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty and p.name not in _OF_ALL}


def check_model(name: str) -> None:
    """Check the name of a network for clips; nothing is imported.

    Raises:
        KineflowError: There is none.
    """
    _MODELS.declaration(name)


def check_hyperparameters(name: str, given: Collection[str]) -> None:
    """Check the names of keywords for a network for clips, as far as its source says; nothing is imported.

    Raises:
        KineflowError: It takes no such keyword, or needs another.
    """
    check_keywords(_MODELS.declaration(name), given, made=_OF_ALL)


def is_frame_network(name: str) -> bool:
    """Whether a network for clips looks at features of a frozen backbone; nothing is imported."""
    return _MODELS.declaration(name).decorator == _FRAME_NETWORK


def import_networks() -> None:
    """Import every network and backbone of Kineflow's own."""
    _MODELS.import_all()


def create_model(name: str, *, num_classes: int, in_channels: int = 3, **hyper: Any) -> VideoNetwork:
    """Build a network for clips, freshly initialised from torch's global generator.

    Args:
        name: One of :func:`list_models`, or the dotted path of the user's own.
        num_classes: K; 0 builds it without a classifier.
        in_channels: C, 3 for RGB and 2 for one flow frame.
        hyper: Further keywords of the network's own function.

    Raises:
        KineflowError: The name or a keyword is unknown, or a value is out of its range.
    """
    if _BACKBONES.knows(name):
        raise KineflowError(
            f"{name!r} is a backbone, for images and not for clips",
            remedy=f"choose one of: {', '.join(list_models())}",
        )
    return _create(_MODELS.find, name, num_classes, in_channels, hyper)


def create_backbone(name: str, *, num_classes: int = 0, in_channels: int = 3, **hyper: Any) -> ImageNetwork:
    """Build a network for images, freshly initialised from torch's global generator.

    Args:
        name: One of :func:`list_backbones`, or the dotted path of the user's own.
        num_classes: K; 0 builds it without a classifier.
        in_channels: C, 3 for RGB and 2 for each flow frame of a stack.
        hyper: Further keywords of the network's own function.

    Raises:
        KineflowError: The name or a keyword is unknown, or a value is out of its range.
    """
    if _MODELS.knows(name):
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
    from kineflow.models.memory_layout import lay_channels_last

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
    network = find(name)(num_classes=num_classes, in_channels=in_channels, **hyper)
    if "." not in name:  # a user's own may rely on the layout that it chose
        lay_channels_last(network)
    return network


def _register_of(name: str) -> Plugins[Any]:
    """The register that has a network of this name.

    Raises:
        KineflowError: None has.
    """
    if _BACKBONES.knows(name):
        return _BACKBONES
    if not (_MODELS.knows(name) or "." in name):
        known = ", ".join([*list_models(), *list_backbones()])
        raise KineflowError(f"no network is called {name!r}", remedy=f"choose one of: {known}")
    return _MODELS


def _require_new(build: Callable[..., Any], others: Plugins[Any]) -> None:
    if others.knows(name := others.full_name(build)):
        raise ValueError(f"two networks are called {name!r}")
