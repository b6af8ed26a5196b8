"""What there is to do for each clip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kineflow.flow.extraction.settings import ExtractSettings
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_set import FlowEntry
from kineflow.sets.indexed import MissingMediaError
from kineflow.sets.media import FLOW, media_path
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError, is_out_of_reach
from kineflow.storage.media import Media, digest_of
from kineflow.storage.ranges import StorageError
from kineflow.storage.stores import MediaStore

LEAST_FRAMES = 2


class ClipError(Exception):
    """One clip has no flow, for a reason that goes into the index; the others go on."""


@dataclass(frozen=True)
class Job:
    """A clip whose flow is to be computed.

    Attributes:
        clip: Its row of the manifest.
        source: Of its video.
        path: Of its flow, below the media root.
        store: Where the flow is kept.
    """

    clip: Clip
    source: Media
    path: str
    store: MediaStore

    @property
    def target(self) -> Path:
        """Where the flow is written."""
        return self.store.work_path(self.path)

    @property
    def pairs(self) -> int:
        """Pairs of neighbouring frames."""
        return self.clip.frames - 1

    def done(self) -> FlowEntry:
        """The entry of the clip when its flow is there."""
        clip = self.clip
        return FlowEntry(clip.clip_id, self.path, self.pairs, clip.width, clip.height, Status.OK, "")


def plan(clips: ClipSet, clip: Clip, store: MediaStore, settings: ExtractSettings) -> Job | FlowEntry:
    """What there is to do for a clip, or its entry when that is nothing.

    Raises:
        StorageError: S3 does not answer; that is no fault of the clip.
        KineflowError: Nor does the storage of its file.
        MissingMediaError: Nor is that its file was removed.
    """
    if clip.frames < LEAST_FRAMES:
        return failed(clip, f"{clip.frames} frame has no motion to measure", Status.SHORT)
    try:
        source = clips.locate(clip)
        path = media_path(FLOW, settings.key(digest_of(source)), ".mp4")
        job = Job(clip, source, path, store)
        _ = job.target  # it lies inside the store
    except (StorageError, MissingMediaError):
        raise
    except KineflowError as error:
        return failed(clip, error.problem)
    except OSError as error:
        if is_out_of_reach(error):
            raise KineflowError(f"not readable: {error.strerror}", where=f"clip {clip.clip_id}") from None
        return failed(clip, error.strerror or str(error))
    return job.done() if store.has(path) else job


def failed(clip: Clip, reason: str, status: Status = Status.UNREADABLE) -> FlowEntry:
    """The entry of a clip that has no flow."""
    return FlowEntry(clip.clip_id, "", 0, clip.width, clip.height, status, reason)
