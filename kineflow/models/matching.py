"""Which networks a table of tensors is of, told by names and shapes alone, on the meta device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from kineflow.models.adapted import Adapted, adapt, renamed
from kineflow.models.network import COUNTER, shapes
from kineflow.models.registry import create_backbone, create_model, list_backbones
from kineflow.models.stage_names import S3D_NETWORKS
from kineflow.storage.errors import KineflowError

if TYPE_CHECKING:
    from torch import Tensor

    from kineflow.models.network import Network


def fitting(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Network]]:
    """Networks and backbones of published width whose tensors these are, as they fit ``state``: on the meta device."""
    shown = {name: torch.empty_like(tensor, device="meta") for name, tensor in state.items()}
    for name in (*S3D_NETWORKS, *list_backbones(), "st_resnet", "alstm"):
        try:
            network = network_like(name, shown)
            adapted = adapt(network, shown)
        except (LookupError, ValueError, TypeError, RuntimeError, KineflowError):
            continue  # of other names or shapes than the network's relatives have
        if not misfits(network, adapted):
            yield name, network


def network_like(name: str, state: Mapping[str, Tensor]) -> Network:
    """Network ``name`` of published width, with the input channels and the classes that ``state`` has; on meta.

    Args:
        name: As the registry knows it, of an image network or of one for clips; ``alstm`` is its recurrent part.
        state: Tensors by the names of the network or of a relative of its.

    Raises:
        KineflowError: There is no such network.
    """
    with torch.device("meta"):
        if name == "alstm":
            return _alstm(renamed(state))
        if name == "st_resnet":
            return _st_resnet(renamed(state))
        create: Any = create_backbone if name in list_backbones() else create_model
        headless = create(name, num_classes=0)
        tensors = adapt(headless, state).tensors
        kernel = tensors.get(f"{headless.stem_name}.weight")
        scores = tensors.get(f"{headless.classifier_name}.weight")
        network: Network = create(name, num_classes=_outputs(scores), in_channels=_inputs(kernel) or 3)
        return network


def misfits(network: Network, adapted: Adapted) -> list[str]:
    """Names of tensors that are missing, unknown or of another shape; counters of batches may be missing."""
    own, theirs = (
        {name: shape for name, shape in table.items() if not name.endswith(COUNTER)}
        for table in (shapes(network.state_dict()), shapes(adapted.tensors))
    )
    return sorted(name for name in own.keys() | theirs.keys() if own.get(name) != theirs.get(name))


def _alstm(tensors: Mapping[str, Tensor]) -> Network:
    from kineflow.models.alstm import ALSTM

    keys, states = tensors["attention.from_region.weight"], tensors["lstm.0.recurrent.weight"]
    deeper = [name for name in tensors if name.startswith("attention.deeper.") and name.endswith(".weight")]
    return ALSTM(
        num_classes=_outputs(tensors.get("head.classifier.weight")),
        in_channels=keys.shape[0],
        hidden=states.shape[1],
        head_width=tensors["head.hidden.0.weight"].shape[0],
        layers=1,
        attention="additive",
        attention_layers=1 + len(deeper),
    )


def _st_resnet(tensors: Mapping[str, Tensor]) -> Network:
    channels = sum(_inputs(tensors[f"{stream}.conv1.weight"]) for stream in ("appearance", "motion"))
    classes = _outputs(tensors.get("classifier.appearance.weight"))
    return create_model("st_resnet", num_classes=classes, in_channels=channels, caffe=True)


def _inputs(kernel: Tensor | None) -> int:
    return 0 if kernel is None or kernel.ndim < 2 else kernel.shape[1]


def _outputs(scores: Tensor | None) -> int:
    return 0 if scores is None or not scores.ndim else scores.shape[0]
