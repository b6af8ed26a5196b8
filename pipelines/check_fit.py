"""Whether the network of a step can load the weights that it starts from, told by names and shapes alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kineflow.models.pretrain_settings import PretrainSettings
from kineflow.models.pretrain_tsn_settings import PretrainTsnSettings
from kineflow.storage.errors import KineflowError
from pipelines.plan import Plan

if TYPE_CHECKING:
    from torch import Tensor

    from kineflow.models.network import VideoNetwork

_CANNOT_TELL = (LookupError, ValueError, TypeError, RuntimeError)  # of a network of one's own


def look_at_fit(
    key: str, of_weights: str, settings: PretrainSettings | PretrainTsnSettings, plan: Plan
) -> Iterator[KineflowError]:
    """Weights with tensors that the network does not have, or without some of its own.

    Args:
        key: The section.
        of_weights: Its key with the checkpoint; of a ``flow_checkpoint`` the network has 2 channels.
        settings: What the section holds.
        plan: Whose project paths are below.
    """
    from kineflow.models.fit import fit_of
    from kineflow.models.weights import read_shapes

    path = _file(getattr(settings, of_weights), plan)
    if path is None:
        return
    state = read_shapes(path)
    try:
        network = _network(settings, 2 if of_weights == "flow_checkpoint" else 3)
        fit_of(network, state, where=f"{key}.{of_weights}")
    except KineflowError as error:
        yield KineflowError(
            error.problem, where=f"{key}.{of_weights}", remedy=f"{error.remedy}{_others(settings, state)}"
        )
    except _CANNOT_TELL:
        return


def _file(checkpoint: str, plan: Plan) -> Path | None:
    """The file of weights where it is on this machine."""
    from kineflow.models.named_weights import local_weights
    from kineflow.models.weights import weights_within
    from kineflow.models.weights_table import is_named, weights_named

    if is_named(checkpoint):
        return local_weights(weights_named(checkpoint))
    path = weights_within(plan.project / Path(checkpoint).expanduser())
    return path if "://" not in checkpoint and path.is_file() else None


def _network(settings: PretrainSettings | PretrainTsnSettings, in_channels: int) -> VideoNetwork:
    import torch

    from components.pretrain import hyperparameters_of
    from components.pretrain_tsn import stream_hyperparameters
    from kineflow.models.registry import create_model

    with torch.device("meta"):
        if isinstance(settings, PretrainTsnSettings):
            return create_model("tsn", num_classes=0, in_channels=3, **stream_hyperparameters(settings, "rgb"))
        return create_model(
            settings.architecture, num_classes=0, in_channels=in_channels, **hyperparameters_of(settings)
        )


def _others(settings: PretrainSettings | PretrainTsnSettings, state: Mapping[str, Tensor]) -> str:
    """The networks that the weights are of."""
    from kineflow.models.matching import fitting

    ours = settings.backbone if isinstance(settings, PretrainTsnSettings) else settings.architecture
    names = [name for name, _ in fitting(state)]
    return f"; these weights are of {', '.join(names)}" if names and ours not in names else ""
