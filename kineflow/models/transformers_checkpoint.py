"""A checkpoint of transformers, from a folder or a hub: what it is, and its weights in a network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kineflow.models.transformers_config import CONFIG_FILE, VideoConfig, config_of_file
from kineflow.models.transformers_hub import fetch_repository, weight_files
from kineflow.models.transformers_input import INPUT_FILES, LibraryInput, input_of_folder
from kineflow.models.transformers_names import ARCHITECTURE, is_hub_id
from kineflow.spec.preprocessing import Preprocessing
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from torch import Tensor

    from kineflow.models.network import VideoNetwork
    from kineflow.models.transformers_library import LibraryState

RGB = tuple[float, float, float]

_SHOWN = 5


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is on this machine; of its weights, nothing has been read.

    Attributes:
        name: As it was given.
        folder: With its files.
        config: Of the network that the weights are of.
        shape: Of the network to be: the same, but for the length and size of clips that were asked for.
        classes: Names, in the order of its scores; may be empty.
        takes: Its input; None where no settings of a preprocessor are there.
    """

    name: str
    folder: Path
    config: VideoConfig
    shape: VideoConfig
    classes: tuple[str, ...]
    takes: LibraryInput | None

    def preprocessing(
        self, *, mean: RGB | None = None, std: RGB | None = None, stride_frames: int = 1
    ) -> Preprocessing:
        """How clips become its input, as the checkpoint says; ``mean`` and ``std``, in 0..255, in place of its own.

        Raises:
            KineflowError: Neither the checkpoint nor the arguments say how values are normalised.
        """
        usual = self.takes.normalisation if self.takes else None
        mean, std = mean or (usual.mean if usual else None), std or (usual.std if usual else None)
        if mean is None or std is None:
            raise KineflowError(
                f"how its input is normalised is not known: neither {' nor '.join(INPUT_FILES)} is there",
                where=self.name,
                remedy="put the file of the network that it was trained from beside it, "
                "or give network.rgb_mean and network.rgb_std, in 0..255",
            )
        return Preprocessing(
            "rgb",
            self.shape.frames,
            stride_frames,
            round(self.shape.size * (self.takes.edge_ratio if self.takes else 1.0)),
            self.shape.size,
            mean=mean,
            std=std,
            fit=self.takes.fit if self.takes else "crop",
        )


def find_checkpoint(checkpoint: str, *, frames: Any = 0, size: Any = 0) -> Checkpoint:
    """Look at a checkpoint; one of a hub is fetched.

    Args:
        checkpoint: A folder, or ``ORGANISATION/NAME@COMMIT``.
        frames, size: Of the clips, where they are to be others than the checkpoint's; 0: its own.

    Raises:
        KineflowError: It is not there, cannot be had, is damaged, or of a network that is not taken or
            takes no other clips.
    """
    folder = fetch_repository(checkpoint) if is_hub_id(checkpoint) else Path(checkpoint).expanduser()
    if not folder.is_dir():
        raise KineflowError("no such folder", where=folder, remedy="give the folder that save_pretrained wrote")
    config, classes = config_of_file(folder / CONFIG_FILE)
    shape = config.resized(frames=frames, size=size)
    return Checkpoint(checkpoint, folder, config, shape, classes, input_of_folder(folder, config))


def load_checkpoint(
    network: VideoNetwork, checkpoint: Checkpoint, sha256: str = "", *, with_classifier: bool = False
) -> tuple[dict[str, str], str]:
    """Fill a network with a checkpoint's weights; a head that it lacks or that is of other classes keeps its own.

    Args:
        network: For RGB, changed in place.
        checkpoint: See :func:`find_checkpoint`.
        sha256: Hex, of the file with the weights; may be empty.
        with_classifier: Whether the network is of no use without the checkpoint's head.

    Returns:
        Its lineage, and a line that says what was loaded.

    Raises:
        KineflowError: The file is not the one expected or damaged, or the weights do not fit.
    """
    from kineflow.models.network import require_finite
    from kineflow.models.transformers_library import library_state, library_version
    from kineflow.models.transformers_network import TransformersNetwork

    assert isinstance(network, TransformersNetwork)
    files = weight_files(checkpoint.folder)
    require_file(files, sha256)
    digests = [sha256.lower()] if sha256 else [sha256_of(file) for file in files]
    given = _read(files, network)
    require_finite(given, where=checkpoint.name)
    scores = [tensor for name, tensor in given.items() if name.endswith("classifier.weight") and tensor.ndim == 2]
    rows = len(scores[0]) if scores else 0
    read = library_state(checkpoint.config, given, num_classes=max(1, rows))
    _require_whole(read, checkpoint)

    own: dict[str, Tensor] = network.model.state_dict()
    takes_classifier = bool(rows) and rows == network.num_classes
    left = [] if takes_classifier or not rows else [f"the classifier of {rows} classes"]
    taken = {
        name: tensor
        for name, tensor in _resized(read.tensors, own, network.config).items()
        if name not in read.missing and (takes_classifier or not name.startswith("classifier."))
    }
    network.model.load_state_dict({**own, **taken})
    afresh = _parts([name for name in own if name not in taken])
    if with_classifier and afresh:
        raise KineflowError(
            f"the checkpoint has not all of its head for {network.num_classes} classes: "
            f"{', '.join(afresh)} would be drawn at random",
            where=checkpoint.name,
            remedy="train it on classes first: network.checkpoint of a recipe",
        )
    left += _parts([name.removeprefix(f"{checkpoint.config.family.base}.") for name in read.unused])
    said = f"{len(taken)} tensors loaded"
    said += f"; drawn afresh: {', '.join(afresh)}" if afresh else ""
    said += f"; left out: {', '.join(left)}" if left else ""
    origin = {
        "initialised": "from checkpoint",
        "checkpoint": checkpoint.name,
        "checkpoint_sha256": ",".join(digests),
        "checkpoint_read_by": library_version(),
    }
    return origin, f"{checkpoint.config.family.title} from {checkpoint.name}: {said}"


def import_checkpoint(checkpoint: str, folder: Path, *, stride_frames: int, sha256: str = "") -> str:
    """Write the bundle of a checkpoint as it is, with its classes and their classifier; one that was there is replaced.

    Args:
        checkpoint: See :func:`find_checkpoint`.
        folder: Of the bundle; the model is called as this is.
        stride_frames: Frames of video from one of a clip to the next; a checkpoint does not say.
        sha256: See :func:`load_checkpoint`.

    Returns:
        A line that says what was loaded.

    Raises:
        KineflowError: As :func:`find_checkpoint` and :func:`load_checkpoint`; or it names no classes, or has no
            classifier for them; or the folder holds other things.
    """
    import torch

    from kineflow.models.bundle import WEIGHTS_FILE, save_bundle
    from kineflow.models.card import CARD_FILE, ModelCard
    from kineflow.models.registry import create_model

    others = {path.name for path in folder.iterdir()} - {WEIGHTS_FILE, CARD_FILE} if folder.is_dir() else ()
    if others or folder.is_file():
        raise KineflowError("other things are there", where=folder, remedy="name a new folder")
    found = find_checkpoint(checkpoint)
    if not found.classes:
        raise KineflowError(
            "it names no classes (id2label), so it has only features",
            where=checkpoint,
            remedy="train it on classes first: network.checkpoint of a recipe",
        )
    preprocessing = found.preprocessing(stride_frames=stride_frames)
    with torch.random.fork_rng(devices=[]):
        network = create_model(ARCHITECTURE, num_classes=len(found.classes), config=found.config.text)
    origin, said = load_checkpoint(network, found, sha256, with_classifier=True)
    card = ModelCard(
        name=folder.resolve().name,
        architecture=ARCHITECTURE,
        hyperparameters={"config": found.config.text},
        classes=found.classes,
        preprocessing=preprocessing,
        lineage=origin,
    )
    save_bundle(folder, network, card)
    return said


def require_file(files: list[Path], sha256: str) -> None:
    """Check that the file with the weights is the one that is meant.

    Args:
        files: See :func:`weight_files`.
        sha256: Hex, of the only one; empty: any will do.

    Raises:
        KineflowError: It has another hash, or there are several.
    """
    from kineflow.models.download import require_hash

    if sha256 and len(files) > 1:
        raise KineflowError(
            f"sha256 is of one file, and the weights are in {len(files)}",
            where=files[0].parent,
            remedy="leave it out; a hub id has the commit",
        )
    if sha256:
        require_hash(files[0], sha256.lower(), where=str(files[0]))


def _read(files: list[Path], network: VideoNetwork) -> dict[str, Tensor]:
    from kineflow.models.weights import read_weights

    needed = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= read_weights(file, needed_bytes=needed)
    return tensors


def _require_whole(read: LibraryState, checkpoint: Checkpoint) -> None:
    """Check that all of the network but its head is there, and that nothing of it is left over."""
    family = checkpoint.config.family
    head = tuple(f"{name}." for name in ("classifier", *family.head))
    body = tuple(f"{name}." for name in (family.embeddings, family.blocks))
    faults = {
        "missing": [name for name in read.missing if not name.startswith(head)],
        "unexpected": [name for name in read.unused if name.removeprefix(f"{family.base}.").startswith(body)],
        "of another shape": list(read.misfits),
    }
    lines = [f"  {kind} ({len(names)}): {', '.join(names[:_SHOWN])}" for kind, names in faults.items() if names]
    if lines:
        raise KineflowError(
            "\n".join([f"the weights are not those of its {CONFIG_FILE}", *lines]),
            where=checkpoint.name,
            remedy="give configuration and weights that were written together",
        )


def _resized(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], config: VideoConfig) -> dict[str, Tensor]:
    """TimeSformer's learnt positions for clips of other length and size: the nearest, as the library takes them."""
    from torch.nn.functional import interpolate

    resized = dict(tensors)
    _, height, width = config.grid
    for name, tensor in tensors.items():
        if name not in own or own[name].shape == tensor.shape or not name.startswith("timesformer.embeddings."):
            continue
        if name.endswith("time_embeddings"):
            resized[name] = interpolate(tensor.transpose(1, 2), size=own[name].shape[1], mode="nearest").transpose(1, 2)
        elif name.endswith("position_embeddings"):
            side = round((tensor.shape[1] - 1) ** 0.5)
            cells = tensor[:, 1:].transpose(1, 2).reshape(1, -1, side, side)
            near = interpolate(cells, size=(height, width), mode="nearest").flatten(2).transpose(1, 2)
            resized[name] = tensor.new_empty(own[name].shape)
            resized[name][:, :1], resized[name][:, 1:] = tensor[:, :1], near
    return resized


def _parts(names: Collection[str]) -> list[str]:
    return sorted({name.partition(".")[0] for name in names})
