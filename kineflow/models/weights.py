"""Published weights: fetched once, verified always, read without unpickling code, and loaded strictly."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kineflow.models.download import display_name, download, path_of, require_hash, require_safe_url, require_size
from kineflow.models.safetensors_file import read_header
from kineflow.models.torch_file import check_torch_file, require_plain
from kineflow.storage.errors import KineflowError

if TYPE_CHECKING:
    from torch import Tensor

    from kineflow.models.network import Network

LARGEST_BYTES = 4 << 30

_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
_TIMES_NEEDED, _SPARE_BYTES = 16, 2**30  # a narrow network may take over from a wide one's checkpoint what it shares


@dataclass(frozen=True)
class LoadReport:
    """What became of a checkpoint.

    Attributes:
        tensors: Count of tensors taken over.
        added: Count of tensors that only this network has, and its rule for relatives filled in.
        classes_in_checkpoint: Scores of the checkpoint's classifier, 0 if it has none.
        classes_in_network: Scores of the network's.
        classifier_loaded: Whether the checkpoint's classifier was taken over; else the network keeps its own.
    """

    tensors: int
    added: int
    classes_in_checkpoint: int
    classes_in_network: int
    classifier_loaded: bool

    def __str__(self) -> str:
        added = f", {self.added} added" if self.added else ""
        if self.classifier_loaded:
            return f"{self.tensors} tensors loaded{added}; classifier of {self.classes_in_network} classes among them"
        return (
            f"{self.tensors} tensors loaded{added}; classifier left out "
            f"(checkpoint: {self.classes_in_checkpoint} classes, network: {self.classes_in_network})"
        )


def fetch_weights(source: str, *, sha256: str, cache: Path | None = None, max_bytes: int = LARGEST_BYTES) -> Path:
    """Give a local file that holds exactly the bytes of ``sha256``.

    Args:
        source: A path, or an ``https://`` URL (``http://`` only to this machine).
        sha256: Hex, of the whole file.
        cache: Where downloads are kept, by their hash; by default below the user's cache folder.
        max_bytes: Larger files are refused.

    Raises:
        KineflowError: The source is missing, not reachable, too large, or has another hash.
    """
    sha256 = sha256.lower()
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise KineflowError(f"{sha256!r} is no SHA-256", where=display_name(source), remedy="give 64 hex digits")
    if "://" not in source:
        path = Path(source).expanduser()
        if not path.is_file():
            raise KineflowError("no such file", where=path, remedy="give the path or the https URL of a checkpoint")
        require_size(path.stat().st_size, max_bytes, where=str(path))
        require_hash(path, sha256, where=str(path))
        return path
    require_safe_url(source)
    kept = (cache or weights_cache()) / f"{sha256}{_suffix(path_of(source), where=display_name(source))}"
    download(source, kept, sha256=sha256, max_bytes=max_bytes)
    return kept


def read_weights(path: Path, *, needed_bytes: int = LARGEST_BYTES) -> dict[str, Tensor]:
    """Read the tensors of a ``.safetensors``, ``.pth``, ``.pt`` or ``.bin`` file to the CPU; no code in it is run.

    A ``state_dict`` within a training checkpoint is found, and the ``module.`` of data-parallel training dropped. What
    is read takes no more memory than the file has bytes.

    Args:
        path: Of the file.
        needed_bytes: What the network takes that it is for. A checkpoint may have several times as much (the state of
            an optimiser, a second copy of the weights), but not any amount.

    Raises:
        KineflowError: The file is damaged, holds other things than tensors, is of another kind, or is far larger than
            what is needed.
    """
    suffix = _suffix(path.name, where=str(path))
    require_size(path.stat().st_size, min(LARGEST_BYTES, _TIMES_NEEDED * needed_bytes + _SPARE_BYTES), where=str(path))
    try:
        content = _read_tensors(path, suffix)
    except Exception as error:  # a damaged file breaks torch's reader in any way: IndexError, KeyError, EOFError, …
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise KineflowError(
            f"not readable as weights alone: {reason}",
            where=path,
            remedy="give a file of plain tensors, a .safetensors best of all",
        ) from None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    import torch

    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise KineflowError("holds no plain table of tensors", where=path, remedy="give a checkpoint's state dict")
    tensors = {str(name).removeprefix("module."): tensor for name, tensor in content.items()}
    try:
        require_plain(tensors, file_bytes=path.stat().st_size)
    except ValueError as error:
        raise KineflowError(str(error), where=path, remedy="give a checkpoint's state dict") from None
    return tensors


def _read_tensors(path: Path, suffix: str) -> Any:
    import torch
    from safetensors.torch import load_file

    if suffix == ".safetensors":
        read_header(path)
        return load_file(path)
    check_torch_file(path)
    # Of an archive, tensors are mapped: what nobody looks at is not read.
    return torch.load(path, "cpu", weights_only=True, mmap=zipfile.is_zipfile(path))


def load_weights(network: Network, state: Mapping[str, Tensor], *, where: str) -> LoadReport:
    """Fill ``network`` with ``state``; only the classifier may differ, and then the network keeps its own.

    Args:
        network: Changed in place.
        state: A published checkpoint's tensors, by the names of this network or of a relative it can adapt.
        where: The checkpoint's name in messages.

    Raises:
        KineflowError: A tensor other than the classifier's is missing, unknown or of another shape, or a weight is not
            finite.
    """
    from kineflow.models.network import require_finite, require_same_tensors, shapes

    own = network.state_dict()
    given = network.adapt_checkpoint(state)
    for name, tensor in own.items():
        if name.endswith("num_batches_tracked"):  # checkpoints older than PyTorch 0.4.1 do not count
            given.setdefault(name, tensor)
    head = f"{network.classifier_name}."
    own_head, given_head = (
        {name: tensor for name, tensor in table.items() if name.startswith(head)} for table in (own, given)
    )
    same_head = bool(own_head) and shapes(own_head) == shapes(given_head)
    if not same_head:
        given = {name: tensor for name, tensor in given.items() if not name.startswith(head)} | own_head
    require_same_tensors(
        shapes(own),
        shapes(given),
        where=where,
        remedy="give the checkpoint of this architecture, with the same width and input channels",
    )
    require_finite(given, where=where)
    network.load_state_dict(given)
    scores = given_head.get(f"{head}weight")
    return LoadReport(
        tensors=len(given.keys() & state.keys() - own_head.keys()) + (len(own_head) if same_head else 0),
        added=len(given.keys() - state.keys() - own_head.keys()),
        classes_in_checkpoint=0 if scores is None else scores.shape[0],
        classes_in_network=network.num_classes,
        classifier_loaded=same_head,
    )


def weights_cache() -> Path:
    """``kineflow/weights`` below the user's cache folder (``XDG_CACHE_HOME`` or ``~/.cache``)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kineflow" / "weights"


def _suffix(name: str, *, where: str) -> str:
    suffix = Path(name).suffix.lower()
    if suffix not in _SUFFIXES:
        raise KineflowError(
            f"weights of kind {suffix or 'unknown'!r}", where=where, remedy=f"give a file of {', '.join(_SUFFIXES)}"
        )
    return suffix
