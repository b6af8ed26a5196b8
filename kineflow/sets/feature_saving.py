"""The end of every step that makes features: the set's index beside what was put into the store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kineflow.sets.feature_set import FeatureEntry, FeatureSet, FeatureSource
from kineflow.sets.media import SetMedia
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_folder


def save_features(
    folder: Path,
    source: FeatureSource,
    shape: tuple[int, ...],
    entries: Sequence[FeatureEntry],
    media: SetMedia,
    *,
    clips: Path,
) -> tuple[list[FeatureEntry], int]:
    """Write a feature set, whole or not at all.

    Args:
        folder: Of the set.
        source: Which network saw what.
        shape: Of a time step's features.
        entries: One a clip, with features or with the reason why there are none.
        media: Where the features were put.
        clips: The clip set, for the message.

    Returns:
        The entries that have features, and their bytes together.

    Raises:
        KineflowError: No clip has features.
    """
    good = [entry for entry in entries if entry.status is Status.OK]
    if not good:
        raise KineflowError(
            f"no clip has features, for the first of them: {entries[0].reason}",
            where=clips,
            remedy="run ingest and extract_flow on these clips again",
        )
    with atomic_folder(folder) as partial:
        paths = [entry.path for entry in good]
        stored_bytes, media_root = media.bytes_of(paths), media.settle(paths, partial)
        FeatureSet(source, shape, {entry.clip_id: entry for entry in entries}, media_root).save(partial)
    return good, stored_bytes
