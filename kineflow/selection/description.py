"""Descriptions of all clips of a set, each computed once: by what its bytes are, so that a new label costs nothing."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from kineflow.evaluation.protocol import describe_clips
from kineflow.models.bundle import weights_digest
from kineflow.models.card import ModelCard
from kineflow.models.clip_descriptor import ClipDescriptor
from kineflow.models.network import VideoNetwork
from kineflow.selection.described import Described
from kineflow.selection.settings import DescribeSettings
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.feature_set import FeatureEntry, FeatureSet, FeatureSource, write_features
from kineflow.sets.flow_set import FlowSet
from kineflow.sets.media import SetMedia
from kineflow.spec.formats import DESCRIPTION_FORMAT
from kineflow.spec.sampling import ClipSpec, covering_clips
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.storage.progress import track
from kineflow.training.feature_extraction import ClipsAndFlow, feature_entry
from kineflow.training.model_cards import flow_source_of

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Descriptions:
    """What :func:`describe` has done.

    Attributes:
        source: Which network described what.
        entries: One a clip.
        described: Clips of this run; those that were there already do not count.
        seconds: Wall time of them.
    """

    source: FeatureSource
    entries: tuple[FeatureEntry, ...]
    described: int
    seconds: float


def describe(
    network: VideoNetwork,
    card: ModelCard,
    bundle: Path,
    clip_set: ClipSet,
    flow_set: FlowSet | None,
    clips: Sequence[Clip],
    media: SetMedia,
    settings: DescribeSettings,
) -> Descriptions:
    """Describe clips into files of ``media``, leaving alone those already there.

    Args:
        network: Headless; gives descriptors [B, F] of windows.
        card: Its card.
        bundle: Its folder.
        clip_set: Where the clips lie.
        flow_set: Their flow; None where the network reads none.
        clips: Usable ones.
        media: Where the descriptions are put.
        settings: Windows, and how they are read.

    Raises:
        KineflowError: The store that holds the clips fails. A clip that cannot be read is listed with the reason.
    """
    window = dataclasses.replace(card.preprocessing, fps=clip_set.fps)
    source = FeatureSource(weights_digest(bundle), card.name, "vector", window, flow_source_of(flow_set, clip_set))
    data = ClipsAndFlow(clip_set, flow_set)
    asked = ["windows", settings.windows, dict(card.hyperparameters), DESCRIPTION_FORMAT]
    entries = tuple(
        feature_entry(clip, source, data, _windows_of(clip, card, settings.windows), asked=asked) for clip in clips
    )
    waiting = {
        entry.path: clip
        for clip, entry in zip(clips, entries, strict=True)
        if entry.status is Status.OK and not media.store.has(entry.path)
    }
    if done := sum(entry.status is Status.OK for entry in entries) - len(waiting):
        _LOG.info("descriptions: %d clips were done before", done)
    start = time.monotonic()
    found = describe_clips(
        network,
        card,
        clip_set,
        flow_set,
        list(waiting.values()),
        windows=settings.windows,
        batch_size=settings.batch_size,
        workers=settings.workers,
        device="cuda" if torch.cuda.is_available() else "cpu",
    )
    unreadable: dict[str, str] = {}
    for path, rows in zip(waiting, track(found, total=len(waiting), what="describe"), strict=True):
        if isinstance(rows, str):
            unreadable[path] = rows
            _LOG.warning("  ! %s is left out: %s", waiting[path].clip_id, rows)
            continue
        write_features(media.store.work_path(path), rows)
        media.store.publish(path)
    entries = tuple(
        FeatureEntry(entry.clip_id, "", 0, Status.UNREADABLE, unreadable[entry.path])
        if entry.path in unreadable
        else entry
        for entry in entries
    )
    return Descriptions(source, entries, len(waiting) - len(unreadable), time.monotonic() - start)


def read_described(
    features: FeatureSet, clips: Sequence[Clip], clip_set: ClipSet, blocks: Mapping[str, slice]
) -> Described:
    """The descriptions of clips as arrays.

    Raises:
        KineflowError: A clip is not described, or its file is damaged.
    """
    parts = [
        features.read(clip.clip_id, np.arange(features.entries[clip.clip_id].time_steps)).numpy().astype(np.float64)
        for clip in clips
    ]
    return Described(
        rows=np.concatenate(parts),
        clip_of=np.repeat(np.arange(len(clips)), [len(part) for part in parts]),
        labels=np.array([clip_set.label_index(clip) for clip in clips], dtype=np.int64),
        groups=tuple(clip.group for clip in clips),
        blocks=blocks,
        classes=len(clip_set.classes),
    )


def blocks_of(network: ClipDescriptor) -> dict[str, slice]:
    """Columns of each group of descriptors."""
    blocks, start = {}, 0
    for group, size in network.sizes.items():
        blocks[group] = slice(start, start + size)
        start += size
    return blocks


def check_same_network(features: FeatureSet, bundle: Path) -> None:
    """Check that descriptions are those of a network.

    Raises:
        KineflowError: They are another's.
    """
    if features.source.backbone != weights_digest(bundle):
        raise KineflowError(
            f"the descriptions are those of another network, {features.source.name!r}",
            where=bundle,
            remedy="pass the outputs of one run of pretrain_descriptor and describe",
        )


def _windows_of(clip: Clip, card: ModelCard, windows: int) -> int:
    spec = ClipSpec(card.preprocessing.frames, card.preprocessing.stride_frames, card.preprocessing.short)
    return len(covering_clips(max(1, clip.frames - 1), spec, windows))
