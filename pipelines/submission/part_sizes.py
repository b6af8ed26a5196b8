"""What the parts of a source hold, by its lists alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kineflow.data.clip_shards import videos_of_shards
from kineflow.data.ingest_settings import IngestSettings
from kineflow.data.listing import list_source
from kineflow.storage.errors import KineflowError
from kineflow.storage.media import is_remote


@dataclass(frozen=True)
class PartSize:
    """What there is to ingest in a part.

    Attributes:
        videos: Files.
        clips: Listed clips; some may come to be rejected.
        bytes: Of the files that are there.
    """

    videos: int
    clips: int
    bytes: int

    def as_json(self) -> dict[str, int]:
        """For ``--json``."""
        return asdict(self)


def part_sizes(ingestion: Mapping[str, Any], project: Path, count: int) -> list[PartSize]:
    """The size of each part, as its run will find it.

    Args:
        ingestion: The checked section.
        project: Folder that relative paths are below.
        count: Of parts.

    Raises:
        KineflowError: The source is not here, as one that only the cluster has, or is empty; or a list is missing or
            malformed.
    """
    settings = IngestSettings.model_validate(dict(ingestion))
    places = {key: place for key in ("source", "annotations") if (place := getattr(settings, key))}
    local = {key: str(project / place) for key, place in places.items() if not is_remote(place)}
    listed = list_source(settings.model_copy(update=local))
    sizes, clips = listed.source.sizes(), Counter(clip.source for clip in listed.listing.clips)
    return [
        PartSize(len(videos), sum(clips[video] for video in videos), sum(sizes.get(video, 0) for video in videos))
        for videos in videos_of_shards(listed.listing.clips, sizes, count)
    ]


def require_videos(sizes: Sequence[PartSize]) -> None:
    """See that each part holds some.

    Args:
        sizes: Of all parts; empty where they are not known.

    Raises:
        KineflowError: There are fewer videos than parts.
    """
    videos = sum(size.videos for size in sizes)
    if videos < len(sizes):
        raise KineflowError(
            f"{len(sizes)} parts of {videos} videos: some would be empty",
            where="--parts",
            remedy=f"ask for {videos} or fewer" if videos > 1 else "leave it out",
        )


def check_parts_of_local(ingestion: Mapping[str, Any], project: Path, count: int) -> None:
    """:func:`require_videos` of a source that is here; of another it is not known.

    The arguments are those of :func:`part_sizes`.
    """
    settings = IngestSettings.model_validate(dict(ingestion))
    if not is_remote(settings.source) and not is_remote(settings.annotations) and (project / settings.source).exists():
        require_videos(part_sizes(ingestion, project, count))
