"""From the video of a clip to its luma planes, a few at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from queue import Queue

import numpy as np

from kineflow.flow.extraction.jobs import ClipError, Job
from kineflow.flow.extraction.workers import Channel, Workers
from kineflow.storage.errors import KineflowError
from kineflow.storage.media import Media
from kineflow.storage.ranges import StorageError
from kineflow.video.decode import iter_luma

_CHUNK_BYTES = 2**21
_CHUNKS_AHEAD = 8


@dataclass(frozen=True)
class Decoding:
    """A clip that is being decoded.

    Attributes:
        job: Which clip.
        frames: Its frames in order, uint8 [n + 1, H, W] at a time; each chunk begins with the last frame of the one
            before it.
    """

    job: Job
    frames: Channel[np.ndarray]


def decode(decoding: Decoding) -> None:
    """Decode a clip into its channel; the reason goes there too when it fails.

    Raises:
        StorageError: S3 does not answer; that is no fault of the clip.
    """
    job = decoding.job
    try:
        for chunk in _chunks(job.source, (job.clip.frames, job.clip.height, job.clip.width)):
            decoding.frames.put(chunk)
    except StorageError:
        raise
    except KineflowError as error:
        decoding.frames.close(ClipError(error.problem))
    except ClipError as failure:
        decoding.frames.close(failure)
    else:
        decoding.frames.close()


def in_order(jobs: Iterable[Job], decoders: Queue[Decoding], workers: Workers, *, ahead: int) -> Iterator[Decoding]:
    """Have clips decoded, up to ``ahead`` of them before they are asked for; yields them in the order of ``jobs``."""
    waiting: deque[Decoding] = deque()
    for job in jobs:
        waiting.append(Decoding(job, Channel(workers, _CHUNKS_AHEAD)))
        decoders.put(waiting[-1])
        if len(waiting) > ahead:
            yield waiting.popleft()
    yield from waiting


def _chunks(path: Media, expected: tuple[int, int, int]) -> Iterator[np.ndarray]:
    """Frames of a video that must have the shape [T, H, W] that its manifest says."""
    count, height, width = expected
    most = 1 + max(1, _CHUNK_BYTES // (height * width))
    chunk: list[np.ndarray] = []
    frames_read = 0
    for frames_read, frame in enumerate(iter_luma(path), 1):
        if frame.shape != (height, width) or frames_read > count:
            what = (
                f"frame {frames_read - 1} is {frame.shape[1]}x{frame.shape[0]}"
                if frames_read <= count
                else "there are more"
            )
            raise ClipError(f"{what}, the manifest says {count} frames of {width}x{height}")
        chunk.append(frame)
        if len(chunk) == most:
            yield np.stack(chunk)
            chunk = [frame]
    if frames_read < count:
        raise ClipError(f"ends after {frames_read} frames, the manifest says {count}")
    if len(chunk) > 1:
        yield np.stack(chunk)
