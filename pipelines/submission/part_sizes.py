"""What the parts of a source hold, by its lists alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kineflow.data.clip_shards import videos_of_shards
from kineflow.data.ingest_settings import IngestSettings
from kineflow.data.listing import list_source
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
