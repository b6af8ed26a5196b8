"""What a file of weights holds, told without running any of it: its tensors, its classes, and which network it fits."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kineflow.models.layouts import is_other_layout
from kineflow.models.matching import fitting
from kineflow.models.normalisation import Normalisation
from kineflow.models.published import input_of, network_of
from kineflow.models.weight_formats.formats import format_of
from kineflow.models.weight_sources import source_of
from kineflow.models.weights import read_any, tensorflow_index, weights_sha256, weights_within
from kineflow.models.weights_table import TENSORFLOW
from kineflow.storage.errors import KineflowError


@dataclass(frozen=True)
class InspectedWeights:
    """What a file of weights holds.

    Attributes:
        path: Of the file.
        sha256: Hex, of the file.
        form: How it is written, in words.
        tensors: Type and shape by name, in the order of the file.
        title: Whose names they are, where others have given them; empty where they are a network's own.
        fits: Networks and backbones of Kineflow's own, at their published width and with the file's input
            channels, that it loads into.
        classes: Scores of its classifier where it fits one; 0 where it has none, or that is not known.
        takes: How RGB frames become its input, where that is known.
    """

    path: Path
    sha256: str
    form: str
    tensors: Mapping[str, tuple[str, tuple[int, ...]]]
    title: str
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
        index = tensorflow_index(source)
        raise KineflowError("no such file", where=path, remedy=f"give {index or 'the path of a file of weights'}")
    state, sha256 = read_any(path), weights_sha256(path)
    theirs = network_of(str(path), sha256, state)
    fits = [(name, network) for name, network in fitting(state) if not is_other_layout(name, theirs)]
    known = source_of(state)
    return InspectedWeights(
        path,
        sha256,
        _form(path),
        {name: (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)) for name, tensor in state.items()},
        known.title if known else "",
        tuple(name for name, _ in fits),
        next((network.num_classes for _, network in fits if network.num_classes), 0),
        input_of(str(path), sha256) or (known.takes(state) if known else None),
    )


def _form(path: Path) -> str:
    if form := format_of(path.name):
        return f"{form.title}'s"
    if path.suffix.lower() == ".safetensors":
        return "safetensors"
    if path.suffix.lower() == TENSORFLOW:
        return "TensorFlow's checkpoint"
    return "PyTorch's archive" if zipfile.is_zipfile(path) else "PyTorch's, of before 1.6"
