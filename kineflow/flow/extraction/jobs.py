"""What there is to do for each clip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kineflow.data.manifest import Clip, ClipSet, Status
from kineflow.errors import KineflowError
from kineflow.files import inside, sha256_of
from kineflow.flow.extraction.settings import ExtractSettings
from kineflow.flow.store import FlowEntry

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
        target: The same as a full path.
    """

    clip: Clip
    source: Path
    path: str
    target: Path

    @property
    def pairs(self) -> int:
        """Pairs of neighbouring frames."""
        return self.clip.frames - 1

    def done(self) -> FlowEntry:
        """The entry of the clip when its flow is there."""
        clip = self.clip
        return FlowEntry(clip.clip_id, self.path, self.pairs, clip.width, clip.height, Status.OK, "")


def plan(clips: ClipSet, clip: Clip, media: Path, settings: ExtractSettings) -> Job | FlowEntry:
    """What there is to do for a clip, or its entry when that is nothing."""
    if clip.frames < LEAST_FRAMES:
        return failed(clip, f"{clip.frames} frame has no motion to measure", Status.SHORT)
    try:
        source = clips.locate(clip)
        path = f"{clip.clip_id}-{settings.key(sha256_of(source))}.mp4"
        job = Job(clip, source, path, inside(media, path))
    except KineflowError as error:
        return failed(clip, error.problem)
    except OSError as error:
        return failed(clip, error.strerror or str(error))
    return job.done() if job.target.is_file() else job


def failed(clip: Clip, reason: str, status: Status = Status.UNREADABLE) -> FlowEntry:
    """The entry of a clip that has no flow."""
    return FlowEntry(clip.clip_id, "", 0, clip.width, clip.height, status, reason)
