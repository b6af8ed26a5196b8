"""The forms of files that frameworks of before PyTorch have left, which are read to be converted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from kineflow.models.weight_formats.caffe import read_caffe
from kineflow.models.weight_formats.matconvnet import read_matconvnet
from kineflow.models.weight_formats.theano import read_theano
from kineflow.models.weights_table import converted_from


@dataclass(frozen=True)
class Format:
    """A form of files.

    Attributes:
        title: Whose it is.
        read: Gives the arrays by name; fails by an OSError or a ValueError.
    """

    title: str
    read: Callable[[Path], Mapping[str, npt.NDArray[Any]]]


_READERS: dict[str, Callable[[Path], Mapping[str, npt.NDArray[Any]]]] = {
    "Caffe": read_caffe,
    "MatConvNet": read_matconvnet,
    "Theano": read_theano,
}


def format_of(name: str) -> Format | None:
    """The form of a file by its name; None of any other."""
    whose = converted_from(name)
    return Format(whose, _READERS[whose]) if whose else None
