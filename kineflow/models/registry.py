"""Networks by name: a thin register of plain keyword functions, as in timm.

A network's file registers its functions when it is imported, and is imported when a name is first asked for::

    @register_model
    def s3d(*, num_classes: int, in_channels: int = 3, width: float = 1.0, …) -> S3D: ...
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from kineflow.errors import KineflowError

if TYPE_CHECKING:
    from kineflow.models.network import VideoNetwork

Build = TypeVar("Build", bound="Callable[..., VideoNetwork]")

# A new network's file is added here, and nowhere else.
_NETWORK_FILES = ("kineflow.models.s3d",)
_BUILDERS: dict[str, Callable[..., VideoNetwork]] = {}


def register_model(build: Build) -> Build:
    """Make ``build`` known under its own name; all its parameters are keywords, ``num_classes`` among them."""
    if build.__name__ in _BUILDERS:
        raise ValueError(f"two networks are called {build.__name__!r}")
    _BUILDERS[build.__name__] = build
    return build


def list_models() -> list[str]:
    """Names that :func:`create_model` knows, sorted."""
    for name in _NETWORK_FILES:
        import_module(name)
    return sorted(_BUILDERS)


def hyperparameters_of(name: str) -> list[str]:
    """Keywords that network ``name`` takes beside ``num_classes`` and ``in_channels``, sorted.

    Raises:
        KineflowError: No network has this name.
    """
    if name not in (known := list_models()):
        raise KineflowError(f"no network is called {name!r}", remedy=f"choose one of: {', '.join(known)}")
    return sorted(inspect.signature(_BUILDERS[name]).parameters.keys() - {"num_classes", "in_channels"})


def create_model(name: str, *, num_classes: int, in_channels: int = 3, **hyper: Any) -> VideoNetwork:
    """Build a network, freshly initialised from torch's global generator.

    Args:
        name: One of :func:`list_models`.
        num_classes: K; 0 builds it without a classifier.
        in_channels: C, 3 for RGB and 2 for one flow field.
        hyper: Further keywords of the network's own function.

    Raises:
        KineflowError: The name or a keyword is unknown, or a value is out of its range.
    """
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
    return _BUILDERS[name](num_classes=num_classes, in_channels=in_channels, **hyper)
