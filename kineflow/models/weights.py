"""Published weights: fetched once, verified always, read without unpickling code, and loaded strictly."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kineflow.models.bundle import WEIGHTS_FILE
from kineflow.models.download import display_name, download, path_of, require_digest, require_safe_url, require_size
from kineflow.models.safetensors_file import read_header
from kineflow.models.torch_file import check_torch_file, require_plain
from kineflow.models.weights_table import SUFFIXES, TENSORFLOW, converted_from, how_to_convert, how_to_save
from kineflow.storage.errors import KineflowError, first_line
from kineflow.storage.files import sha256_of
from kineflow.storage.names import first_few

if TYPE_CHECKING:
    from torch import Tensor

    from kineflow.models.network import Network

LARGEST_BYTES = 4 << 30

_PLAIN_FILE = "give a file of plain tensors, a .safetensors best of all"
_ALL_FILES = "have all files of the checkpoint in one folder, as they were published"
_TIMES_NEEDED, _SPARE_BYTES = 16, 2**30  # a narrow network may take over from a wide one's checkpoint what it shares


@dataclass(frozen=True)
class LoadReport:
    """What became of a checkpoint.

    Attributes:
        tensors: Count of the checkpoint's tensors that were taken over.
        in_checkpoint: Count of all that it has.
        left_out: Names of its tensors that were not taken over, without the classifier's.
        missing: Names of the network's tensors that it has not, without the classifier's: they are as the network
            begins with them.
        classes_in_checkpoint: Scores of the checkpoint's classifier, 0 if it has none.
        classes_in_network: Scores of the network's.
        classifier_loaded: Whether the checkpoint's classifier was taken over; else the network keeps its own.
    """

    tensors: int
    in_checkpoint: int
    left_out: tuple[str, ...]
    missing: tuple[str, ...]
    classes_in_checkpoint: int
    classes_in_network: int
    classifier_loaded: bool

    def __str__(self) -> str:
        parts = [f"{self.tensors} of {self.in_checkpoint} tensors loaded"]
        if self.left_out:
            parts.append(f"left out ({len(self.left_out)}): {first_few(self.left_out)}")
        if self.missing:
            parts.append(f"not in it, and begun anew ({len(self.missing)}): {first_few(self.missing)}")
        if self.classifier_loaded:
            parts.append(f"classifier of {self.classes_in_network} classes among them")
        else:
            parts.append(
                f"classifier left out (checkpoint: {self.classes_in_checkpoint} classes, "
                f"network: {self.classes_in_network})"
            )
        return "; ".join(parts)


def fetch_weights(source: str, *, sha256: str, cache: Path | None = None, max_bytes: int = LARGEST_BYTES) -> Path:
    """Give a local file that holds exactly the bytes of ``sha256``.

    Args:
        source: A path, of a bundle's folder too, or an ``https://`` URL (``http://`` only to this machine).
        sha256: Hex, of the whole file; of a checkpoint of TensorFlow, of all its files (:func:`weights_sha256`).
        cache: Where downloads are kept, by their hash; by default below the user's cache folder.
        max_bytes: Larger files are refused.

    Raises:
        KineflowError: The source is missing, not reachable, too large, or has another hash.
    """
    sha256 = sha256.lower()
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise KineflowError(f"{sha256!r} is no SHA-256", where=display_name(source), remedy="give 64 hex digits")
    if "://" not in source:
        path = weights_within(Path(source).expanduser())
        if not path.is_file():
            raise KineflowError("no such file", where=path, remedy=_right_path(Path(source).expanduser()))
        require_size(weights_size(path), max_bytes, where=str(path))
        require_digest(weights_sha256(path), sha256, where=str(path))
        return path
    require_safe_url(source)
    kept = kept_download(source, sha256, cache)
    download(source, kept, sha256=sha256, max_bytes=max_bytes)
    return kept


def kept_download(url: str, sha256: str, cache: Path | None = None) -> Path:
    """Where the file of a URL is kept once it is downloaded.

    Raises:
        KineflowError: It is of no kind that is read.
    """
    return (cache or weights_cache()) / f"{sha256.lower()}{_suffix(path_of(url), where=display_name(url))}"


def weights_within(path: Path) -> Path:
    """The file of weights in the folder of a bundle; any other path is that of a file already."""
    return path / WEIGHTS_FILE if path.is_dir() else path


def tensorflow_index(path: Path) -> Path | None:
    """The ``.index`` of a checkpoint of TensorFlow's, by its prefix or its folder; None of any other path."""
    if path.is_file() or (path / WEIGHTS_FILE).is_file():
        return None
    beside = path.with_name(f"{path.name}{TENSORFLOW}")
    return beside if beside.is_file() else min(path.glob(f"*{TENSORFLOW}"), default=None)


def _right_path(path: Path) -> str:
    index = tensorflow_index(path)
    return f"give {index}" if index else "give the path or the https URL of a checkpoint"


def weights_sha256(path: Path) -> str:
    """Hex SHA-256 of a file of weights; of a checkpoint of TensorFlow, of its files one behind the other.

    Raises:
        KineflowError: A file of such a checkpoint is missing, or its index damaged.
    """
    if path.suffix.lower() != TENSORFLOW:
        return sha256_of(path)
    from kineflow.models.weight_formats.tensorflow import sha256_of_all

    try:
        return sha256_of_all(path)
    except (OSError, ValueError) as error:
        raise _unreadable(error, path) from None


def weights_size(path: Path) -> int:
    """Bytes of a file of weights; of a checkpoint of TensorFlow, of all its files.

    Raises:
        KineflowError: A file of such a checkpoint is missing, or its index damaged.
    """
    if path.suffix.lower() != TENSORFLOW:
        return path.stat().st_size
    from kineflow.models.weight_formats.tensorflow import files_of

    try:
        return sum(file.stat().st_size for file in files_of(path))
    except (OSError, ValueError) as error:
        raise _unreadable(error, path) from None


def read_weights(path: Path, *, needed_bytes: int = LARGEST_BYTES) -> dict[str, Tensor]:
    """Read the tensors of a file of weights to the CPU; no code in it is run.

    A file is a ``.safetensors``, or PyTorch's: ``.pth``, ``.pth.tar``, ``.pt`` or ``.bin``. Of TensorFlow's
    checkpoints, ``.index``, the variables keep their names and the order of their dimensions. A ``state_dict`` within a
    training checkpoint is found, and the ``module.`` of data-parallel training dropped. What is read takes no more
    memory than the file has bytes.

    Args:
        path: Of the file.
        needed_bytes: What the network takes that it is for. A checkpoint may have several times as much (the state of
            an optimiser, a second copy of the weights), but not any amount.

    Raises:
        KineflowError: The file is damaged, holds other things than tensors, is of another kind, or is far larger than
            what is needed.
    """
    suffix = _suffix(path.name, where=str(path))
    size = weights_size(path)
    require_size(size, min(LARGEST_BYTES, _TIMES_NEEDED * needed_bytes + _SPARE_BYTES), where=str(path))
    try:
        content = _read_tensors(path, suffix)
    except Exception as error:  # a damaged file breaks torch's reader in any way: IndexError, KeyError, EOFError, …
        raise _unreadable(error, path) from None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    import torch

    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise KineflowError("holds no plain table of tensors", where=path, remedy="give a checkpoint's state dict")
    tensors = {str(name).removeprefix("module."): tensor for name, tensor in content.items()}
    try:
        require_plain(tensors, file_bytes=size)
    except ValueError as error:
        raise KineflowError(str(error), where=path, remedy="give a checkpoint's state dict") from None
    return tensors


def read_shapes(path: Path) -> dict[str, Tensor]:
    """The tensors that :func:`read_weights` would read, on the meta device.

    Raises:
        KineflowError: As there.
    """
    import torch

    if path.suffix.lower() != TENSORFLOW:
        return {name: torch.empty_like(tensor, device="meta") for name, tensor in read_weights(path).items()}
    from kineflow.models.weight_formats.tensorflow import shapes_of

    try:
        return {name: torch.empty(shape, device="meta") for name, shape in shapes_of(path).items()}
    except (OSError, ValueError) as error:
        raise _unreadable(error, path) from None


def read_any(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file of weights, or of one that is to be converted, by the names that it has.

    Raises:
        KineflowError: See :func:`read_weights`.
    """
    from kineflow.models.weight_formats.confined import read_confined
    from kineflow.models.weight_formats.formats import format_of

    return read_weights(path) if format_of(path.name) is None else read_confined(path)


def _read_tensors(path: Path, suffix: str) -> Any:
    import torch
    from safetensors.torch import load_file

    if suffix == ".safetensors":
        read_header(path)
        return load_file(path)
    if suffix == TENSORFLOW:
        from kineflow.models.weight_formats.tensorflow import read_tensorflow

        return {name: torch.from_numpy(values) for name, values in read_tensorflow(path).items()}
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
    from kineflow.models.fit import fit_of
    from kineflow.models.network import COUNTER, require_finite

    own, head = network.state_dict(), f"{network.classifier_name}."
    fit = fit_of(network, state, where=where)
    given, adapted, given_head, same_head = fit.tensors, fit.adapted, fit.given_head, fit.same_head
    require_finite(given, where=where)
    network.load_state_dict(given)
    kept_own = set() if same_head else given_head.keys()
    used, of_head = (
        {origin for name in names for origin in adapted.origins.get(name, ())}
        for names in (given.keys() - kept_own, given_head)
    )
    scores = given_head.get(f"{head}weight")
    return LoadReport(
        tensors=len(used),
        in_checkpoint=len(state),
        left_out=tuple(name for name in state if name not in used | of_head),
        missing=tuple(
            name for name in own if not (adapted.origins.get(name) or name.startswith(head) or name.endswith(COUNTER))
        ),
        classes_in_checkpoint=0 if scores is None else scores.shape[0],
        classes_in_network=network.num_classes,
        classifier_loaded=same_head,
    )


def weights_cache() -> Path:
    """``kineflow/weights`` below the user's cache folder (``XDG_CACHE_HOME`` or ``~/.cache``)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kineflow" / "weights"


def _unreadable(error: Exception, path: Path) -> KineflowError:
    return KineflowError(
        f"not readable as weights alone: {first_line(error)}",
        where=path,
        remedy=_ALL_FILES if path.suffix.lower() == TENSORFLOW else _PLAIN_FILE,
    )


def _suffix(name: str, *, where: str) -> str:
    if whose := converted_from(name):
        raise KineflowError(f"a file of {whose}", where=where, remedy=how_to_convert(name))
    suffix = next((each for each in SUFFIXES if name.lower().endswith(each)), "")
    if not suffix:
        raise KineflowError(
            f"weights of kind {Path(name).suffix.lower() or 'unknown'!r}",
            where=where,
            remedy=how_to_save(name) or f"give a file of {', '.join(SUFFIXES)}",
        )
    return suffix
