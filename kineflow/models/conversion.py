"""A file of others becomes one of ours: safetensors by our networks' names, with what it takes for its input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kineflow.models.adapted import adapt
from kineflow.models.layouts import require_layout
from kineflow.models.matching import fitting, network_like
from kineflow.models.network import COUNTER, require_finite, require_same_tensors, shapes
from kineflow.models.normalisation import Normalisation
from kineflow.models.published import input_of, network_of
from kineflow.models.stored_input import metadata_of
from kineflow.models.weight_sources import SOURCES, source_of
from kineflow.models.weight_sources.caffe_bn_inception import CAFFE_BN_INCEPTION, from_inverse_std
from kineflow.models.weights import read_any, weights_sha256
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file, sha256_of

if TYPE_CHECKING:
    from torch import Tensor

    from kineflow.models.network import Network
    from kineflow.models.weight_sources.source import Source

BnStyle = Literal["variance", "inverse_std"]

_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Converted:
    """What became of a file.

    Attributes:
        path: Of the new file.
        sha256: Hex, of the new file.
        title: Whose file it was, in words.
        network: That it is of now.
        classes: Scores of its classifier; 0 without one.
        in_channels: Of an image that the network takes; 0 of one that takes features.
        tensors: Count of the network's.
        taken: Count of the file's that they were made of.
        left_out: Names of the file's that none was made of.
        takes: How RGB frames become the input, where that is known.
        bn_style: What the fourth blobs of TSN's Caffe were taken for; empty of any other file.
    """

    path: Path
    sha256: str
    title: str
    network: str
    classes: int
    in_channels: int
    tensors: int
    taken: int
    left_out: tuple[str, ...]
    takes: Normalisation | None
    bn_style: BnStyle | Literal[""]


def convert_weights(source: Path, to: Path, network: str = "", bn_style: BnStyle | None = None) -> Converted:
    """Write the tensors of a file as one of ours has them.

    Args:
        source: A file of any form that is read.
        to: The ``.safetensors`` to write; one that is there is replaced.
        network: That it shall be of, by its name; empty for the one that its tensors are of.
        bn_style: What the fourth blobs of normalisation in a file of TSN's Caffe are; None: variances. None of others.

    Raises:
        KineflowError: The file is damaged, of no network that is known, or not of the one that was asked for.
    """
    if to.suffix.lower() != _SUFFIX:
        raise KineflowError(f"{to.name!r} is no name of a converted file", remedy=f"let it end in {_SUFFIX}")
    if not source.is_file():
        raise KineflowError("no such file", where=source, remedy="give the path of a file of weights")
    state, sha256 = read_any(source), weights_sha256(source)
    known = source_of(state)
    style = _bn_style(known, bn_style, where=source)
    if style == "inverse_std":
        state = from_inverse_std(state)
    theirs = network_of(str(source), sha256, state)
    name = network or theirs or _fitting(state, where=source)
    require_layout(name, theirs, where=str(source))
    built = network_like(name, state)
    adapted = adapt(built, state)
    tensors = _whole(built, adapted.tensors)
    require_same_tensors(
        shapes(built.state_dict()),
        shapes(tensors),
        where=str(source),
        remedy=f"see what it holds: kineflow weights inspect {source.name}",
    )
    require_finite(tensors, where=str(source))
    takes = input_of(str(source), sha256) or (known.takes(state) if known else None)
    _write(to, tensors, metadata_of(name, takes))
    used = {origin for origins in adapted.origins.values() for origin in origins}
    return Converted(
        path=to,
        sha256=sha256_of(to),
        title=known.title if known else "tensors by the network's own names",
        network=name,
        classes=built.num_classes,
        in_channels=built.stem.in_channels if built.stem_name else 0,
        tensors=len(tensors),
        taken=len(used),
        left_out=tuple(key for key in state if key not in used),
        takes=takes,
        bn_style=style,
    )


def _bn_style(known: Source | None, chosen: BnStyle | None, *, where: Path) -> BnStyle | Literal[""]:
    if known is CAFFE_BN_INCEPTION:
        return chosen or "variance"
    if chosen:
        raise KineflowError(
            "a style of normalisation is chosen for BN-Inception of TSN's Caffe alone",
            where=where,
            remedy="leave --bn-style out",
        )
    return ""


def _fitting(state: Mapping[str, Tensor], *, where: Path) -> str:
    for name, _ in fitting(state):
        return name
    raise KineflowError(
        "its tensors are of no network that is known, by our names or by those of: "
        + "; ".join(source.title for source in SOURCES),
        where=where,
        remedy="take a network of your own, whose adapt_checkpoint knows the names (docs/extend.md)",
    )


def _whole(network: Network, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as they are stored: float32, and with counters of batches, which older files do not have."""
    import torch

    counters = {name: torch.zeros((), dtype=torch.int64) for name in network.state_dict() if name.endswith(COUNTER)}
    given = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    return counters | given


def _write(to: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    from safetensors.torch import save_file

    with atomic_file(to) as partial:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial, metadata)
