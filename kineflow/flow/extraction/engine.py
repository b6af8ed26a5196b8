"""Flow of all clips of a set: decode, solve in full batches, encode, each on its own threads.

The flow of a clip is a file named by a key of all that it depends on. A file that is there is whole and right, so work
that was killed goes on where it stopped, and a change of parameters never meets old files. Clips of the same bytes
share one file.
Frames go through in small pieces, with bounded queues between the stages: memory does not grow with the clips.

::

    decoders ──frames──▶ filler ──batches──▶ solvers
     (a clip each)         └────────pieces────────▶ encoders (a clip each)
"""

from __future__ import annotations

import dataclasses
import logging
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import Queue

import torch

from kineflow.flow.extraction.batches import Filler, PairBatch, pairs_in_batch
from kineflow.flow.extraction.decoding import Decoding, decode, in_order
from kineflow.flow.extraction.encoding import Encoding, encode
from kineflow.flow.extraction.jobs import ClipError, Job, plan
from kineflow.flow.extraction.settings import ExtractSettings
from kineflow.flow.extraction.solving import BatchSolver, solvers_of
from kineflow.flow.extraction.workers import Budget, Channel, Workers
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_set import FlowEntry
from kineflow.spec.status import Status
from kineflow.storage.progress import track
from kineflow.storage.stores import LocalStore, MediaStore

_LOG = logging.getLogger(__name__)
_AHEAD_BYTES_A_CODER = 2**26  # decoded or solved, and not yet encoded
_BYTES_A_PIXEL = 4  # of a pair in a batch: two frames, then u and v
_SOLVERS_A_CODER = 16  # on a CPU, where solving takes most of the time
_ABANDONED_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class ExtractedFlow:
    """What :func:`extract_set` has done.

    Attributes:
        entries: One a clip, ordered by clip id.
        pairs: Pairs of frames solved in this run; clips that were there already do not count.
        seconds: Wall time of solving them, decoding and encoding included.
        solver_busy_share: Share of that time that the solvers (GPUs, or workers on a CPU) were solving.
        cpu_seconds: CPU time of the threads that ``decode``, ``fill`` batches, ``solve`` and ``encode``.
    """

    entries: tuple[FlowEntry, ...]
    pairs: int = 0
    seconds: float = 0.0
    solver_busy_share: float = 0.0
    cpu_seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def pairs_per_second(self) -> float:
        """0 when nothing was left to do."""
        return self.pairs / self.seconds if self.pairs else 0.0


def extract_set(
    clips: ClipSet, chosen: Sequence[Clip], media: Path | MediaStore, settings: ExtractSettings
) -> ExtractedFlow:
    """Extract the flow of ``chosen`` clips of a set into files below ``media``, leaving alone those already there.

    A clip that fails is listed with the reason and does not stop the others. Paths of the entries are relative to
    ``media``. Several processes may work below one ``media``.

    Raises:
        KineflowError: The disk is full or not writable, S3 does not answer, or a device has too little memory for the
            batch.
    """
    store = LocalStore(media) if isinstance(media, Path) else media
    planned = _plan_all(clips, chosen, store, settings)
    entries = [item for item in planned if isinstance(item, FlowEntry)]
    if done := sum(entry.status is Status.OK for entry in entries):
        _LOG.info("flow: %d clips were done before", done)
    # Clips of one size follow one another, so that they can share batches.
    jobs = sorted(
        {item.path: item for item in reversed(planned) if isinstance(item, Job)}.values(),
        key=lambda job: (job.clip.height, job.clip.width, job.clip.clip_id),
    )
    if not jobs:
        return ExtractedFlow(tuple(_by_clip(entries)))
    _remove_abandoned({job.target.parent for job in jobs})
    extracted = _extract(jobs, settings)
    _LOG.info(
        "flow: %.1f pairs/s, solvers busy %.0f %% of %.1f s; CPU seconds: %s",
        extracted.pairs_per_second,
        100 * extracted.solver_busy_share,
        extracted.seconds,
        ", ".join(f"{role} {spent:.1f}" for role, spent in sorted(extracted.cpu_seconds.items())),
    )
    path_of = {job.clip.clip_id: job.path for job in jobs}
    made = {path_of[entry.clip_id]: entry for entry in extracted.entries}
    for item in planned:
        if isinstance(item, Job):
            entries.append(dataclasses.replace(made[item.path], clip_id=item.clip.clip_id))
    return dataclasses.replace(extracted, entries=tuple(_by_clip(entries)))


def _by_clip(entries: Iterable[FlowEntry]) -> list[FlowEntry]:
    return sorted(entries, key=lambda entry: entry.clip_id)


def _plan_all(
    clips: ClipSet, chosen: Sequence[Clip], store: MediaStore, settings: ExtractSettings
) -> list[Job | FlowEntry]:
    """Every clip is read once to see whether its flow is there; on S3 its digest is."""
    planners = ThreadPoolExecutor(settings.workers)
    try:
        planned = planners.map(lambda clip: plan(clips, clip, store, settings), chosen)
        return list(track(planned, total=len(chosen), what="flow: looking for finished clips"))
    finally:
        planners.shutdown(cancel_futures=True)


def _remove_abandoned(folders: Iterable[Path]) -> None:
    """Remove what runs that were killed had half written, long enough ago that nobody can be at it."""
    long_ago = time.time() - _ABANDONED_SECONDS
    for folder in folders:
        for path in folder.glob(".*.partial.mp4"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < long_ago:
                    path.unlink()


def _extract(jobs: Sequence[Job], settings: ExtractSettings) -> ExtractedFlow:
    on_cpu, solvers = settings.on_cpu, solvers_of(settings)
    coders = 1 + settings.workers // _SOLVERS_A_CODER if on_cpu else settings.workers
    memory = Budget(_AHEAD_BYTES_A_CODER * (coders + 1))
    to_decode: Queue[Decoding] = Queue()
    to_solve: Queue[PairBatch] = Queue(2 * len(solvers))
    to_encode: Queue[Encoding] = Queue()
    finished: Queue[FlowEntry] = Queue()
    pairs = {job.clip.clip_id: job.pairs for job in jobs}
    start = time.monotonic()

    with _one_thread_an_operation(on_cpu), Workers() as workers:

        def open_batch(height: int, width: int) -> PairBatch:
            room = pairs_in_batch(height * width, settings.batch_pairs, on_cpu=on_cpu)
            weight = _BYTES_A_PIXEL * room * height * width
            workers.take(memory, weight)
            return PairBatch(room, on_used=lambda: memory.give_back(weight))

        def decode_each() -> None:
            for decoding in workers.items(to_decode):
                decode(decoding)

        def fill() -> None:
            filler = Filler(open_batch, lambda batch: workers.put(to_solve, batch))
            for decoding in in_order(jobs, to_decode, workers, ahead=coders):
                encoding = Encoding(decoding.job, Channel(workers))
                to_encode.put(encoding)
                try:
                    for frames in decoding.frames:
                        for piece in filler.add(frames):
                            encoding.pieces.put(piece)
                except ClipError as failure:
                    encoding.pieces.close(failure)
                else:
                    encoding.pieces.close()
            filler.flush()

        def solve_each(solver: BatchSolver) -> None:
            for batch in workers.items(to_solve):
                batch.flow.set_result(solver.solve(*batch.frames()))

        def encode_each() -> None:
            for encoding in workers.items(to_encode):
                finished.put(encode(encoding, settings, workers))

        workers.start("decode", decode_each, count=coders)
        workers.start("fill", fill)
        for solver in solvers:
            workers.start("solve", partial(solve_each, solver), count=solver.feeders)
        workers.start("encode", encode_each, count=coders)
        results = (workers.get(finished) for _ in jobs)
        entries = list(
            track(results, total=sum(pairs.values()), what="flow", unit="pair", size=lambda e: pairs[e.clip_id])
        )

    seconds = time.monotonic() - start
    busy = sum(solver.busy_seconds for solver in solvers)
    return ExtractedFlow(
        tuple(entries),
        pairs=sum(entry.fields for entry in entries),
        seconds=seconds,
        solver_busy_share=min(1.0, busy / (seconds * len(solvers))),
        cpu_seconds=workers.cpu_seconds(),
    )


@contextmanager
def _one_thread_an_operation(wanted: bool) -> Iterator[None]:
    """Parallel over batches, not inside an operation: barriers after each one stall when cores are shared.

    Solvers need Python between their operations, which take microseconds: they must not wait for milliseconds until a
    coder gives it up.
    """
    before, interval = torch.get_num_threads(), sys.getswitchinterval()
    if wanted:
        torch.set_num_threads(1)
        sys.setswitchinterval(2e-4)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        torch.set_num_threads(before)
