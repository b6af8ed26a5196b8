"""Flow of all clips of a set: decode, solve in full batches, encode, each on its own threads.

The flow of a clip is a file named by the clip and by a key of all that the flow depends on. A file that is there is
whole and right, so work that was killed goes on where it stopped, and a change of parameters never meets old files.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import logging
import shutil
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from kineflow.data.manifest import Clip, ClipSet, Status
from kineflow.errors import KineflowError
from kineflow.files import inside, sha256_of
from kineflow.flow.quantise import quantise
from kineflow.flow.store import FlowEntry, write_flow
from kineflow.flow.tvl1 import TVL1Params, tvl1_flow
from kineflow.progress import track
from kineflow.video.decode import read_frames

_LOG = logging.getLogger(__name__)
_FORMAT_VERSION = 1  # raise it when the same parameters come to give other flow
_KEY_DIGITS = 12
_CLIPS_AHEAD = 4  # decoded, or solved and not yet encoded: what bounds the memory
_LEAST_FRAMES = 2


@dataclass(frozen=True, kw_only=True)
class ExtractSettings:
    """How to extract flow.

    Attributes:
        tvl1: Parameters of the algorithm.
        bound_px: Flow is clipped to ±this.
        crf, gop: Of the flow videos, see :func:`kineflow.flow.store.write_flow`.
        batch_pairs: Pairs of frames solved together, of one clip or of several of the same size.
        device: ``cpu``, ``cuda``, ``cuda:1`` …
        workers: Threads that solve on a CPU, or that decode and encode beside a GPU.
    """

    tvl1: TVL1Params = dataclasses.field(default_factory=TVL1Params)
    bound_px: float = 20.0
    crf: int = 10
    gop: int = 12
    batch_pairs: int = 128
    device: str = "cpu"
    workers: int = 1

    def described(self) -> dict[str, Any]:
        """All that the flow of a clip depends on beside the clip; batches, device and threads are not among it."""
        stored = {"bound_px": self.bound_px, "crf": self.crf, "gop": self.gop, "format": _FORMAT_VERSION}
        return {"algorithm": "tvl1", **dataclasses.asdict(self.tvl1), **stored}

    def key(self, clip_sha256: str) -> str:
        """Short digest of the clip's bytes and of all that its flow depends on."""
        told = json.dumps([self.described(), clip_sha256], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:_KEY_DIGITS]


def extract_clip_flow(
    frames: np.ndarray, params: TVL1Params, *, bound_px: float, device: str = "cpu", batch_pairs: int = 128
) -> np.ndarray:
    """Flow between the neighbouring frames of one clip.

    Args:
        frames: uint8 grey [T, H, W], T ≥ 2.
        params: Of TV-L1.
        bound_px: Flow is clipped to ±this.
        device: Where to compute.
        batch_pairs: Pairs solved together.

    Returns:
        uint8 levels [T-1, H, W, 2], see :mod:`kineflow.flow.quantise`.

    Raises:
        KineflowError: There are fewer than two frames.
    """
    if len(frames) < _LEAST_FRAMES:
        raise KineflowError(f"flow needs at least two frames, not {len(frames)}")
    starts = range(0, len(frames) - 1, batch_pairs)
    parts = [frames[start : start + batch_pairs + 1] for start in starts]
    return np.concatenate([_solve(part[:-1], part[1:], params, bound_px, device) for part in parts])


def shard(clips: Iterable[Clip], index: int, count: int) -> list[Clip]:
    """The clips of shard ``index`` of ``count``: each clip belongs to exactly one, whatever order they come in."""
    if not 0 <= index < count:
        raise KineflowError(f"there is no shard {index} of {count}", remedy="count shards from 0")
    return sorted(clips, key=lambda clip: clip.clip_id)[index::count]


@dataclass(frozen=True)
class Extracted:
    """What :func:`extract_set` has done.

    Attributes:
        entries: One a clip, ordered by clip id.
        pairs: Pairs of frames solved in this run; clips that were there already do not count.
        seconds: Wall time of solving them, decoding and encoding included.
    """

    entries: tuple[FlowEntry, ...]
    pairs: int
    seconds: float

    @property
    def pairs_per_second(self) -> float:
        """0 when nothing was left to do."""
        return self.pairs / self.seconds if self.pairs else 0.0


def extract_set(clips: ClipSet, chosen: Sequence[Clip], media: Path, settings: ExtractSettings) -> Extracted:
    """Extract the flow of ``chosen`` clips of a set into files below ``media``, leaving alone those already there.

    A clip that fails is listed with the reason and does not stop the others. Paths of the entries are relative to
    ``media``.

    Raises:
        KineflowError: The disk is full, or the device has too little memory for the batch.
    """
    entries: list[FlowEntry] = []
    jobs: list[_Job] = []
    plans = (_plan(clips, clip, media, settings) for clip in chosen)
    for planned in track(plans, total=len(chosen), what="flow: looking for finished clips"):
        if isinstance(planned, _Job):
            jobs.append(planned)
        else:
            entries.append(planned)
    if done := sum(entry.status is Status.OK for entry in entries):
        _LOG.info("flow: %d clips were done before", done)
    # Clips of one size follow one another, so that they can share batches.
    jobs.sort(key=lambda job: (job.clip.height, job.clip.width, job.clip.clip_id))
    start = time.monotonic()
    with closing(_pipeline(jobs, settings)) as finished:
        new = list(track(finished, total=len(jobs), what="flow"))
    seconds = time.monotonic() - start
    in_order = sorted((*entries, *new), key=lambda entry: entry.clip_id)
    return Extracted(tuple(in_order), sum(entry.fields for entry in new), seconds)


def put_in_place(entries: Iterable[FlowEntry], work: Path, media: Path) -> int:
    """Let the files of ``entries`` that lie below ``work`` lie below ``media`` too; returns their size in bytes."""
    total = 0
    for entry in entries:
        source, target = inside(work, entry.path), inside(media, entry.path)
        total += source.stat().st_size
        if source == target:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.hardlink_to(source)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(source, target)
    return total


@dataclass(frozen=True)
class _Job:
    clip: Clip
    source: Path
    path: str
    target: Path

    def done(self) -> FlowEntry:
        clip = self.clip
        return FlowEntry(clip.clip_id, self.path, clip.frames - 1, clip.width, clip.height, Status.OK, "")


def _failed(clip: Clip, status: Status, reason: str) -> FlowEntry:
    return FlowEntry(clip.clip_id, "", 0, clip.width, clip.height, status, reason)


def _plan(clips: ClipSet, clip: Clip, media: Path, settings: ExtractSettings) -> _Job | FlowEntry:
    """What there is to do for a clip, or its entry when that is nothing."""
    if clip.frames < _LEAST_FRAMES:
        return _failed(clip, Status.SHORT, f"{clip.frames} frame has no motion to measure")
    try:
        source = clips.locate(clip)
        path = f"{clip.clip_id}-{settings.key(sha256_of(source))}.mp4"
    except (KineflowError, OSError) as error:
        return _failed(clip, Status.UNREADABLE, _reason(error))
    job = _Job(clip, source, path, inside(media, path))
    return job.done() if job.target.is_file() else job


def _reason(error: Exception) -> str:
    if isinstance(error, KineflowError):
        return error.problem
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _pipeline(jobs: Sequence[_Job], settings: ExtractSettings) -> Generator[FlowEntry, None, None]:
    """Decode, solve and encode, each stage on threads of its own and a few clips ahead of the next one."""
    on_cpu = torch.device(settings.device).type == "cpu"
    solvers, coders = (settings.workers, 1) if on_cpu else (1, settings.workers)
    with ExitStack() as stack:
        if on_cpu:
            stack.enter_context(_one_thread_an_operation())
        decoding, solving, encoding = (stack.enter_context(_threads(n)) for n in (coders, solvers, coders))
        decoded = _in_order(decoding, _decode, jobs, ahead=_CLIPS_AHEAD + coders)
        solve = functools.partial(_solve_batch, settings=settings)
        solved = _in_order(solving, solve, _batches(decoded, settings.batch_pairs), ahead=2 * solvers)
        encode = functools.partial(_encode, settings=settings)
        yield from _in_order(encoding, encode, _whole_clips(solved), ahead=_CLIPS_AHEAD + coders)


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that, when the block fails or is interrupted, finish what they are at and nothing more."""
    executor = ThreadPoolExecutor(count)
    try:
        yield executor
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _one_thread_an_operation() -> Iterator[None]:
    """Parallel over batches, not inside an operation: barriers after each one stall when cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


In = TypeVar("In")
Out = TypeVar("Out")


def _in_order(
    executor: ThreadPoolExecutor, work: Callable[[In], Out], items: Iterable[In], *, ahead: int
) -> Iterator[Out]:
    """Results of ``work`` in the order of ``items``, at most ``ahead`` of them begun before they are asked for."""
    waiting: deque[Future[Out]] = deque()
    for item in items:
        waiting.append(executor.submit(work, item))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@dataclass(frozen=True)
class _Decoded:
    job: _Job
    frames: np.ndarray  # uint8 [T, H, W]


def _decode(job: _Job) -> _Decoded | FlowEntry:
    clip = job.clip
    try:
        frames = read_frames(job.source, pixel_format="gray")
    except KineflowError as error:
        return _failed(clip, Status.UNREADABLE, error.problem)
    expected = (clip.frames, clip.height, clip.width)
    if frames.shape != expected:
        return _failed(
            clip, Status.UNREADABLE, f"decodes to frames × height × width {frames.shape}, the manifest says {expected}"
        )
    return _Decoded(job, frames)


@dataclass(frozen=True)
class _Piece:
    """Consecutive pairs of one clip: from its frames ``start`` … ``stop - 1`` to the frames after them."""

    of: _Decoded
    start: int
    stop: int

    @property
    def ends_clip(self) -> bool:
        return self.stop == len(self.of.frames) - 1


@dataclass
class _Batch:
    """Pieces to be solved together, and entries of clips that have failed, both in the order of the clips."""

    items: list[_Piece | FlowEntry] = dataclasses.field(default_factory=list)
    pairs: int = 0


def _batches(decoded: Iterable[_Decoded | FlowEntry], batch_pairs: int) -> Iterator[_Batch]:
    """Fill batches from clip after clip; a batch ends early only where the size of the frames changes."""
    batch, size = _Batch(), None
    for clip in decoded:
        if isinstance(clip, FlowEntry):
            batch.items.append(clip)
            continue
        if batch.pairs and clip.frames.shape[1:] != size:
            yield batch
            batch = _Batch()
        size, start, pairs = clip.frames.shape[1:], 0, len(clip.frames) - 1
        while start < pairs:
            stop = min(pairs, start + batch_pairs - batch.pairs)
            batch.items.append(_Piece(clip, start, stop))
            batch.pairs += stop - start
            start = stop
            if batch.pairs == batch_pairs:
                yield batch
                batch = _Batch()
    if batch.items:
        yield batch


@dataclass(frozen=True)
class _Solved:
    piece: _Piece
    levels: np.ndarray  # uint8 [n, H, W, 2]


def _solve_batch(batch: _Batch, *, settings: ExtractSettings) -> list[_Solved | FlowEntry]:
    pieces = [item for item in batch.items if isinstance(item, _Piece)]
    if not pieces:
        return [item for item in batch.items if isinstance(item, FlowEntry)]
    first = np.concatenate([piece.of.frames[piece.start : piece.stop] for piece in pieces])
    second = np.concatenate([piece.of.frames[piece.start + 1 : piece.stop + 1] for piece in pieces])
    levels = _solve(first, second, settings.tvl1, settings.bound_px, settings.device)
    parts = iter(np.split(levels, np.cumsum([piece.stop - piece.start for piece in pieces])[:-1]))
    return [_Solved(item, next(parts)) if isinstance(item, _Piece) else item for item in batch.items]


def _solve(first: np.ndarray, second: np.ndarray, params: TVL1Params, bound_px: float, device: str) -> np.ndarray:
    """uint8 levels [N, H, W, 2] of the flow between uint8 frames [N, H, W]."""
    try:
        flow = tvl1_flow(torch.from_numpy(first), torch.from_numpy(second), params, device=device)
    except torch.OutOfMemoryError:
        raise KineflowError(
            f"{len(first)} pairs of {first.shape[2]}x{first.shape[1]} do not fit into the memory of {device}",
            remedy="lower batch_pairs",
        ) from None
    return quantise(np.ascontiguousarray(flow.permute(0, 2, 3, 1).cpu().numpy()), bound_px)


def _whole_clips(solved: Iterable[list[_Solved | FlowEntry]]) -> Iterator[tuple[_Job, np.ndarray] | FlowEntry]:
    """Join the pieces of each clip again."""
    parts: list[np.ndarray] = []
    for batch in solved:
        for item in batch:
            if isinstance(item, FlowEntry):
                yield item
                continue
            parts.append(item.levels)
            if item.piece.ends_clip:
                yield item.piece.of.job, np.concatenate(parts)
                parts = []


def _encode(clip: tuple[_Job, np.ndarray] | FlowEntry, *, settings: ExtractSettings) -> FlowEntry:
    if isinstance(clip, FlowEntry):
        return clip
    job, levels = clip
    write_flow(job.target, levels, fps=job.clip.fps, crf=settings.crf, gop=settings.gop)
    return job.done()
