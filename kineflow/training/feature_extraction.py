"""Features of all clips of a set: decode pieces of clips, run the frozen backbone on full batches, write a file a clip.

Features are named by a key of all that they depend on. A file that is there is whole and right, so work that was killed
goes on where it stopped, and another backbone or another view never meets old files. Clips are read in pieces of a
batch at most: memory does not grow with their length.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from kineflow.data.windows import needed_of, prepare_windows
from kineflow.models.network import ImageNetwork
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.feature_set import FeatureEntry, FeatureSource, write_features
from kineflow.sets.flow_file import read_flow
from kineflow.sets.flow_set import FlowSet
from kineflow.sets.media import FEATURES, media_path
from kineflow.spec.arrays import Indices
from kineflow.spec.formats import FEATURE_FORMAT, KEY_DIGITS
from kineflow.spec.modality import reads_flow, reads_frames
from kineflow.spec.status import Status
from kineflow.spec.tap import Tap
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of
from kineflow.storage.media import Media, RemoteFile, digest_of
from kineflow.storage.progress import track
from kineflow.storage.stores import LocalStore, MediaStore
from kineflow.video.decode import read_frames

_LOG = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class ClipsAndFlow:
    """What features are computed of.

    Attributes:
        clip_set: The clips.
        flow_set: Where the backbone sees flow, their flow.
    """

    clip_set: ClipSet
    flow_set: FlowSet | None


@dataclass(frozen=True)
class ExtractedFeatures:
    """What :func:`extract` has done.

    Attributes:
        entries: One a clip, in the order in which the clips were given.
        shape: Of a time step's features.
        time_steps: Seen in this run; clips that were there already do not count.
        seconds: Wall time of seeing them, decoding and writing included.
    """

    entries: tuple[FeatureEntry, ...]
    shape: tuple[int, ...]
    time_steps: int
    seconds: float

    @property
    def time_steps_per_second(self) -> float:
        """0 when nothing was left to do."""
        return self.time_steps / self.seconds if self.time_steps else 0.0


def extract(
    backbone: ImageNetwork,
    source: FeatureSource,
    data: ClipsAndFlow,
    chosen: Sequence[Clip],
    media: Path | MediaStore,
    *,
    batch_frames: int,
    workers: int = 0,
    device: torch.device | str = "auto",
) -> ExtractedFeatures:
    """Compute the features of ``chosen`` clips into files below ``media``, leaving alone those already there.

    Args:
        backbone: Takes images [N, C, crop, crop]; is moved to ``device`` and set to evaluation mode.
        source: What it is, how its input is made, and what of it is wanted.
        data: Where the clips lie, and their flow.
        chosen: Usable clips.
        media: Folder or store; paths of the entries are relative to it. Several processes may work below one.
        batch_frames: Images a forward pass, at most.
        workers: Threads that decode beside this one; 0 decodes in this one. Makes no difference to the features.
        device: Where the backbone runs; ``auto`` is a GPU where there is one.

    Raises:
        KineflowError: A clip cannot be read, the backbone sees flow and there is no flow set, or features do not fit
            16 bits. A clip whose flow is missing is listed with the reason.
    """
    wanted = source.preprocessing
    if reads_flow(wanted.modality) and data.flow_set is None:
        raise KineflowError(
            "the backbone sees flow, and no flow set was given",
            where=f"model {source.name!r}",
            remedy="pass the output of the extract_flow step",
        )
    target_device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    backbone = backbone.to(target_device).eval()
    store = LocalStore(media) if isinstance(media, Path) else media
    entries = {clip.clip_id: feature_entry(clip, source, data, time_steps_of(clip)) for clip in chosen}
    good = {entry.path: clip for clip in chosen if (entry := entries[clip.clip_id]).status is Status.OK}
    waiting = [clip for path, clip in good.items() if not store.has(path)]
    if done := len(good) - len(waiting):
        _LOG.info("features: %d clips were done before", done)

    def see(images: Tensor) -> Tensor:
        return seen_by(backbone, source.tap, images.to(target_device)).cpu()

    start, time_steps = time.monotonic(), sum(map(time_steps_of, waiting))
    pieces = [piece for clip in waiting for piece in _pieces(clip, batch_frames)]
    images = _ahead(lambda piece: _images(piece, source, data), pieces, workers)
    tracked = track(
        _piece_features(pieces, images, see, batch_frames), total=time_steps, what="features", unit="frame", size=_count
    )
    for clip, features in _whole(tracked):
        path = entries[clip.clip_id].path
        write_features(store.work_path(path), features)
        store.publish(path)
    shape = see(_blank(source)).shape[1:]
    return ExtractedFeatures(tuple(entries.values()), tuple(shape), time_steps, time.monotonic() - start)


def seen_by(backbone: ImageNetwork, tap: Tap, images: Tensor) -> Tensor:
    """Features of normalised images [N,C,S,S]: the map [N,F,h,w], or what the classifier sees [N,D]; no gradient."""
    with torch.inference_mode():
        features: Tensor = backbone.forward_features(images)
        if tap == "vector":
            features = backbone.forward_head(features, pre_logits=True)
        return features.contiguous()


def time_steps_of(clip: Clip) -> int:
    """Moments of a clip, see :mod:`kineflow.spec.modality`."""
    return max(1, clip.frames - 1)


@dataclass(frozen=True)
class _Piece:
    """Successive time steps of a clip; the clip's last piece ends with its last time step."""

    clip: Clip
    time_steps: Indices

    @property
    def is_last(self) -> bool:
        return int(self.time_steps[-1]) == time_steps_of(self.clip) - 1


def _pieces(clip: Clip, most: int) -> list[_Piece]:
    time_steps = np.arange(time_steps_of(clip))
    return [_Piece(clip, time_steps[first : first + most]) for first in range(0, len(time_steps), most)]


def _images(piece: _Piece, source: FeatureSource, data: ClipsAndFlow) -> Tensor:
    """What the backbone sees of a piece, float32 [n, C, S, S]: the view of the middle, as in a test."""
    clip, wanted, windows = piece.clip, source.preprocessing, piece.time_steps[None]
    needed = needed_of(windows, wanted, n_frames=clip.frames)
    frames = flow_frames = None
    if len(needed.frames):
        frames = read_frames(data.clip_set.locate(clip), needed.frames.tolist())
    if len(needed.flow_frames):
        assert data.flow_set is not None  # checked before the first clip is read
        flow_frames = read_flow(data.flow_set.locate(clip.clip_id), needed.flow_frames.tolist())
    prepared = prepare_windows(windows, needed, frames, flow_frames, wanted, n_frames=clip.frames)  # [1, 1, C, n, S, S]
    return prepared[0, 0].transpose(0, 1)


def _piece_features(
    pieces: Sequence[_Piece], images: Iterable[Tensor], see: Callable[[Tensor], Tensor], most: int
) -> Iterator[tuple[_Piece, Tensor]]:
    """Each piece with its features; pieces of several clips share a batch of at most ``most`` images."""
    batch: list[tuple[_Piece, Tensor]] = []

    def flush() -> Iterator[tuple[_Piece, Tensor]]:
        if batch:
            parts = torch.split(see(torch.cat([part for _, part in batch])), [len(part) for _, part in batch])
            yield from ((piece, part) for (piece, _), part in zip(batch, parts, strict=True))
            batch.clear()

    for piece, part in zip(pieces, images, strict=True):
        if sum(len(other) for _, other in batch) + len(part) > most:
            yield from flush()
        batch.append((piece, part))
    yield from flush()


def _whole(pieces: Iterable[tuple[_Piece, Tensor]]) -> Iterator[tuple[Clip, Tensor]]:
    """Each clip with the features of all its time steps; its pieces follow one another."""
    parts: list[Tensor] = []
    for piece, part in pieces:
        parts.append(part.half())
        if piece.is_last:
            yield piece.clip, torch.cat(parts)
            parts.clear()


def _count(piece_features: tuple[_Piece, Tensor]) -> int:
    return len(piece_features[0].time_steps)


def _blank(source: FeatureSource) -> Tensor:
    wanted = source.preprocessing
    return torch.zeros(1, len(wanted.mean), wanted.crop, wanted.crop)


def feature_entry(
    clip: Clip, source: FeatureSource, data: ClipsAndFlow, time_steps: int, *, asked: Sequence[object] = ()
) -> FeatureEntry:
    """The entry of a clip whose features are there, or soon will be; without them where its flow is missing.

    Args:
        clip: Whose.
        source: Which network sees what.
        data: Where the clip lies, and its flow.
        time_steps: How many its features have.
        asked: What else they depend on, plain values.
    """
    modality = source.preprocessing.modality
    read = []
    if reads_frames(modality):
        read.append(data.clip_set.locate(clip))
    if reads_flow(modality):
        assert data.flow_set is not None  # checked before
        flow = data.flow_set.entries.get(clip.clip_id)
        if flow is None or flow.status is not Status.OK:
            status, reason = (flow.status, flow.reason) if flow else (Status.UNREADABLE, "not in the flow set")
            return FeatureEntry(clip.clip_id, "", 0, status, f"no flow: {reason}")
        read.append(data.flow_set.locate(clip.clip_id))
    # Neither the model's name nor what is known of the flow changes what the bytes lead to; rate and size are in these.
    seen = replace(source, name="", flow=None, preprocessing=replace(source.preprocessing, fps=0.0, size=None))
    key_parts = [FEATURE_FORMAT, seen.plain(), *asked, *map(_digest, read)]
    key = hashlib.sha256(json.dumps(key_parts, sort_keys=True).encode()).hexdigest()[:KEY_DIGITS]
    path = media_path(FEATURES, key, ".safetensors")
    return FeatureEntry(clip.clip_id, path, time_steps, Status.OK, "")


def _digest(path: Media) -> str:
    """Of a video, or of all planes in a folder of flow."""
    try:
        if isinstance(path, RemoteFile) or not path.is_dir():
            return digest_of(path)
        return hashlib.sha256("".join(map(sha256_of, sorted(path.iterdir()))).encode()).hexdigest()
    except OSError as error:
        raise KineflowError(
            f"not readable: {error.strerror}", where=str(path), remedy="run the step again that wrote it"
        ) from None


def _ahead(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Results in order, worked out by threads a little ahead of the one who takes them."""
    if not workers:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
