"""The library transformers, where it is installed: its networks built, and their weights in its names of today."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from kineflow.models.transformers_config import VideoConfig
from kineflow.storage.errors import KineflowError

if TYPE_CHECKING:
    from torch import Tensor, nn

PACKAGES = ("transformers", "huggingface_hub")


@dataclass(frozen=True)
class LibraryState:
    """Weights as the library reads them.

    Attributes:
        tensors: All of the network's, by its names; those that are ``missing`` are drawn afresh.
        missing: Names that the checkpoint does not have.
        unused: Names in the checkpoint that the network does not have.
        misfits: Names of tensors that have another shape there.
    """

    tensors: dict[str, Tensor]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    misfits: tuple[str, ...]


def require_transformers() -> None:
    """Check that the library is installed.

    Raises:
        KineflowError: It is not.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise KineflowError(
            f"not installed, and a network of transformers needs it: {', '.join(missing)}",
            remedy="install Kineflow's extra 'transformers': in its checkout, "
            "pip install -c constraints.txt -e '.[transformers]'",
        )


def library_version() -> str:
    """Name and version of the library."""
    return f"transformers {version('transformers')}"


def build_network(config: VideoConfig, *, in_channels: int, num_classes: int) -> nn.Module:
    """The library's network for video classification, freshly initialised from torch's global generator.

    Raises:
        KineflowError: The library is not installed, or takes no such configuration; or memory is too small for it.
    """
    require_transformers()
    from huggingface_hub.errors import StrictDataclassError

    network: nn.Module
    try:
        network_class, library_config = _of_library(config, in_channels=in_channels, num_classes=num_classes)
        network = network_class(library_config)
    except (TypeError, ValueError, ArithmeticError, RuntimeError, StrictDataclassError) as error:
        raise KineflowError(
            f"transformers builds no such {config.family.title}: {error}", remedy="give a checkpoint that it wrote"
        ) from None
    _without_predictor(network)
    return network


def library_state(config: VideoConfig, state: Mapping[str, Tensor], *, num_classes: int) -> LibraryState:
    """Weights of a checkpoint by the names that the library gives them today; it knows those of earlier releases.

    Args:
        config: Of the network; it takes RGB.
        state: The checkpoint's tensors.
        num_classes: Scores of its classifier.

    Raises:
        KineflowError: The library is not installed.
    """
    import torch

    require_transformers()
    network_class, library_config = _of_library(config, in_channels=3, num_classes=num_classes)
    with _quiet():
        network, report = network_class.from_pretrained(
            None,
            config=library_config,
            state_dict=dict(state),
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    _without_predictor(network)
    tensors = dict(network.state_dict())
    return LibraryState(
        tensors,
        missing=tuple(sorted(set(report["missing_keys"]) & tensors.keys())),
        unused=tuple(sorted(report["unexpected_keys"])),
        misfits=tuple(sorted({entry[0] for entry in report["mismatched_keys"]} & tensors.keys())),
    )


def _of_library(config: VideoConfig, *, in_channels: int, num_classes: int) -> tuple[Any, Any]:
    """Its class of the network, and the configuration as an object of its own."""
    with _quiet():
        import transformers

        name = config.family.network
        values = config.model_dump() | {config.clip_keys[2]: in_channels}
        if config.family.base == "vjepa2":
            values["pred_num_hidden_layers"] = 0
        kind = getattr(transformers, name.replace("ForVideoClassification", "Config"))
        return getattr(transformers, name), kind(num_labels=num_classes, **values)


def _without_predictor(network: Any) -> None:
    """V-JEPA 2's fills in what is masked; here nothing is."""
    from torch import nn

    if hasattr(network, "vjepa2"):
        network.vjepa2.predictor = nn.Identity()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's warnings and bars: what it says of weights is said here in other words."""
    from transformers.utils import logging

    before, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if had_bars:
            logging.enable_progress_bar()
