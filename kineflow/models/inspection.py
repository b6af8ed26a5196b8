"""What a file of weights holds, told without running any of it: its tensors, its classes, and which network it fits."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kineflow.models.adapted import adapt
from kineflow.models.network import shapes
from kineflow.models.normalisation import Normalisation
from kineflow.models.published import input_of
from kineflow.models.registry import create_backbone, create_model, list_backbones
from kineflow.models.stage_names import S3D_NETWORKS
from kineflow.models.weights import read_weights, weights_sha256, weights_within
from kineflow.models.weights_table import TENSORFLOW
from kineflow.storage.errors import KineflowError

if TYPE_CHECKING:
    from torch import Tensor

    from kineflow.models.network import Network


@dataclass(frozen=True)
class InspectedWeights:
    """What a file of weights holds.

    Attributes:
        path: Of the file.
        sha256: Hex, of the file.
        form: How it is written, in words.
        tensors: Type and shape by name, in the order of the file.
        fits: Networks and backbones of Kineflow's own, at their published width, that it loads into.
        classes: Scores of its classifier where it fits one; 0 where it has none, or that is not known.
        takes: How RGB frames become its input, where that is known.
    """

    path: Path
    sha256: str
    form: str
    tensors: Mapping[str, tuple[str, tuple[int, ...]]]
    fits: tuple[str, ...]
    classes: int
    takes: Normalisation | None

    @property
    def numbers(self) -> int:
        """Count of all numbers in its tensors."""
        total = 0
        for _, shape in self.tensors.values():
            size = 1
            for side in shape:
                size *= side
            total += size
        return total


def inspect_weights(source: Path) -> InspectedWeights:
    """Look into a file of weights.

    Args:
        source: Of the file, or the folder of a bundle.

    Raises:
        KineflowError: It is missing, of no kind that is known, damaged, or holds other things than tensors.
    """
    path = weights_within(source)
    if not path.is_file():
        raise KineflowError("no such file", where=path, remedy="give the path of a file of weights")
    state, sha256 = read_weights(path), weights_sha256(path)
    fits, classes = _fitting(state)
    return InspectedWeights(
        path,
        sha256,
        _form(path),
        {name: (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)) for name, tensor in state.items()},
        fits,
        classes,
        input_of(str(path), sha256),
    )


def _form(path: Path) -> str:
    if path.suffix.lower() == ".safetensors":
        return "safetensors"
    if path.suffix.lower() == TENSORFLOW:
        return "TensorFlow's checkpoint"
    return "PyTorch's archive" if zipfile.is_zipfile(path) else "PyTorch's, of before 1.6"


def _fitting(state: Mapping[str, Tensor]) -> tuple[tuple[str, ...], int]:
    """Networks whose tensors these are, but for the classifier; and the classes of that."""
    import torch

    fits, classes = [], 0
    known: dict[str, Callable[[], Network]] = {name: _model(name) for name in S3D_NETWORKS}
    known |= {name: _backbone(name) for name in list_backbones()}
    shown = {name: torch.empty_like(tensor, device="meta") for name, tensor in state.items()}
    for name, build in known.items():
        with torch.device("meta"):
            network = build()
            try:
                adapted = adapt(network, shown).tensors
            except (
                LookupError,
                ValueError,
                TypeError,
                RuntimeError,
            ):  # of other names or shapes than the network's relatives have
                continue
        head = f"{network.classifier_name}."
        own, theirs = (
            {key: shape for key, shape in table.items() if not key.startswith(head) and not key.endswith("_tracked")}
            for table in (shapes(network.state_dict()), shapes(adapted))
        )
        if own == theirs:
            fits.append(name)
            scores = adapted.get(f"{head}weight")
            classes = classes if scores is None else int(scores.shape[0])
    return tuple(fits), classes


def _model(name: str) -> Callable[[], Network]:
    return lambda: create_model(name, num_classes=0)


def _backbone(name: str) -> Callable[[], Network]:
    return lambda: create_backbone(name)
