"""From the solved pairs of a clip to its flow video."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import av.error
import numpy as np

from kineflow.flow.extraction.batches import Piece
from kineflow.flow.extraction.jobs import ClipError, Job, failed
from kineflow.flow.extraction.settings import ExtractSettings
from kineflow.flow.extraction.workers import Channel, Workers
from kineflow.sets.flow_file import write_flow
from kineflow.sets.flow_set import FlowEntry
from kineflow.storage.errors import MISTAKE, OUT_OF_SIGHT, KineflowError, is_out_of_reach


@dataclass(frozen=True)
class Encoding:
    """A clip that is being solved and encoded; ``pieces`` holds its pairs in order."""

    job: Job
    pieces: Channel[Piece]


def encode(encoding: Encoding, settings: ExtractSettings, workers: Workers) -> FlowEntry:
    """Encode a clip as its pairs are solved; a clip that fails is an entry with the reason.

    Raises:
        KineflowError: The disk is full, the folder is not writable, or S3 does not take the result.
    """
    job, flow_frames = encoding.job, _flow_frames(encoding.pieces, workers)
    try:
        write_flow(job.target, flow_frames, fps=job.clip.fps, crf=settings.crf, gop=settings.gop)
    except ClipError as failure:
        return failed(job.clip, str(failure))
    except (KineflowError, av.error.FFmpegError) as error:
        if isinstance(error, KineflowError) and error.exit_code != MISTAKE:
            raise
        if is_out_of_reach(error):
            raise _not_writable(error, job) from None
        with suppress(ClipError):
            deque(flow_frames, maxlen=0)  # the rest is solved all the same: free its memory
        return failed(job.clip, f"its flow could not be encoded: {error}")
    except OSError as error:
        raise _not_writable(error, job) from None
    job.store.publish(job.path)
    return job.done()


def _not_writable(error: Exception, job: Job) -> KineflowError:
    return KineflowError(
        f"not writable: {getattr(error, 'strerror', error)}",
        where=job.target,
        remedy="give a media_root that can be written to",
        exit_code=OUT_OF_SIGHT if is_out_of_reach(error) else MISTAKE,
    )


def _flow_frames(pieces: Channel[Piece], workers: Workers) -> Iterator[np.ndarray]:
    """Flow uint8 [H, W, 2] of one pair after the other."""
    for piece in pieces:
        yield from workers.result(piece.batch.flow)[piece.start : piece.stop]
        piece.batch.release()
