"""The extraction step from end to end: decoding, flow and encoding, overlapped and not."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from flow_tables.layout import markdown
from flow_tables.pairs import REAL_CLIPS, shared_data

from kineflow.flow.extraction.engine import extract_set
from kineflow.flow.extraction.settings import ExtractSettings
from kineflow.flow.tvl1 import tvl1_flow
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_file import write_flow
from kineflow.spec.quantise import quantise
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.spec.tvl1 import PRESETS
from kineflow.video.decode import iter_frames, read_frames
from kineflow.video.encode import write_video


@dataclass(frozen=True)
class Run:
    """What one extraction took: wall time, cores it got on average, and CPU time by stage."""

    seconds: float
    cores: float
    busy_share: float
    decode: float
    solve: float
    encode: float


def table(quick: bool) -> str:
    """Pairs a second, CPU seconds by stage and the share of the time that the solver is busy (medians of rounds).

    Clips are the first frames of real ones, encoded as a clip set stores them. "One stage after the other" decodes a
    clip, solves it and encodes it on one thread, with the same functions; the others are the step's engine, with one
    and two workers, and with one solver that shares each batch of 16 pairs among two threads. On a machine with a GPU
    the engine is measured there too.
    """
    frames, rounds = (5, 1) if quick else (17, 3)
    with tempfile.TemporaryDirectory() as folder:
        clips = _clip_set(Path(folder) / "clips", frames)
        pairs = sum(clip.frames - 1 for clip in clips.clips)
        ways = _ways(clips)
        _serial(clips, Path(folder) / "warm")  # compiles, and fills the caches
        runs: dict[str, list[Run]] = {name: [] for name in ways}
        for round_ in range(rounds):
            for name, way in ways.items():
                print(f"step: {name}, round {round_ + 1}", file=sys.stderr)
                runs[name].append(way(Path(folder) / f"{name}-{round_}"))
    first, *others = ({name: _median(of_way) for name, of_way in runs.items()}).items()
    rows = [_row(name, run, pairs, first[1].seconds / run.seconds) for name, run in (first, *others)]
    source = "real clips" if shared_data() else "rendered clips (no real ones here)"
    return markdown(
        "The extraction step, end to end",
        ["way", "pairs/s", "ratio", "cores", "solver busy", "CPU s: decode", "solve", "encode", "CPU ms a pair"],
        rows,
        f"{pairs} pairs of {len(clips.clips)} {source}, preset capped; medians of {rounds} rounds. Where two workers",
        "got less than two cores, others were using the machine.",
    )


def _ways(clips: ClipSet) -> dict[str, Callable[[Path], Run]]:
    ways: dict[str, Callable[[Path], Run]] = {
        "one stage after the other": lambda out: _serial(clips, out),
        "overlapped, 1 worker": lambda out: _engine(clips, out, workers=1),
        "overlapped, 2 workers": lambda out: _engine(clips, out, workers=2),
        "one solver of 2 threads, batches of 16": lambda out: _threads_in_batch(clips, out, threads=2),
    }
    if torch.cuda.is_available():
        ways["overlapped, one GPU"] = lambda out: _engine(clips, out, workers=16, devices=("cuda:0",))
    return ways


def _engine(clips: ClipSet, out: Path, *, workers: int, devices: tuple[str, ...] = ("cpu",)) -> Run:
    settings = ExtractSettings(tvl1=PRESETS["capped"], workers=workers, devices=devices)
    before = time.process_time()
    done = extract_set(clips, clips.clips, out, settings)
    cores, spent = (time.process_time() - before) / done.seconds, done.cpu_seconds
    return Run(done.seconds, cores, done.solver_busy_share, spent["decode"], spent["solve"], spent["encode"])


def _serial(clips: ClipSet, out: Path) -> Run:
    with _Threads(1):
        return _by_hand(clips, out, batch_pairs=1)


def _threads_in_batch(clips: ClipSet, out: Path, *, threads: int) -> Run:
    """Decoding and encoding take so little beside it that they are left where they are."""
    with _Threads(threads):
        return _by_hand(clips, out, batch_pairs=16)


def _by_hand(clips: ClipSet, out: Path, *, batch_pairs: int) -> Run:
    start, started, solving = time.perf_counter(), time.process_time(), 0.0
    spent = dict.fromkeys(("decode", "solve", "encode"), 0.0)
    for clip in clips.clips:
        frames = torch.from_numpy(
            _timed(spent, "decode", lambda c=clip: read_frames(clips.locate(c), pixel_format="gray"))
        )
        before = time.perf_counter()
        levels = _timed(spent, "solve", lambda f=frames: np.concatenate(list(_levels(f, batch_pairs))))
        solving += time.perf_counter() - before
        _timed(spent, "encode", lambda c=clip, v=levels: write_flow(out / c.path, v, fps=c.fps))
    seconds = time.perf_counter() - start
    return Run(seconds, (time.process_time() - started) / seconds, solving / seconds, **spent)


def _levels(frames: torch.Tensor, batch_pairs: int) -> Iterator[np.ndarray]:
    for first, second in zip(frames[:-1].split(batch_pairs), frames[1:].split(batch_pairs), strict=True):
        flow = tvl1_flow(first, second, PRESETS["capped"])
        yield quantise(flow.permute(0, 2, 3, 1).numpy(), 20.0)


def _timed(spent: dict[str, float], stage: str, work: Callable[[], np.ndarray]) -> np.ndarray:
    before = time.process_time()
    result = work()
    spent[stage] += time.process_time() - before
    return result


class _Threads:
    def __init__(self, count: int) -> None:
        self._count = count

    def __enter__(self) -> None:
        self._before = torch.get_num_threads()
        torch.set_num_threads(self._count)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._before)


def _median(runs: list[Run]) -> Run:
    return Run(*(statistics.median(values) for values in zip(*(vars(run).values() for run in runs), strict=True)))


def _row(name: str, run: Run, pairs: int, ratio: float) -> list[str]:
    stages = (run.decode, run.solve, run.encode)
    shares = (f"{ratio:.2f}x", f"{run.cores:.2f}", f"{run.busy_share:.0%}")
    cpu = (*(f"{seconds:.2f}" for seconds in stages), f"{1000 * sum(stages) / pairs:.0f}")
    return [name, f"{pairs / run.seconds:.1f}", *shares, *cpu]


def _clip_set(folder: Path, frames: int) -> ClipSet:
    rows = []
    for name, pictures in _videos(frames):
        write_video(folder / f"{name}.mp4", pictures, fps=25)
        height, width = pictures[0].shape[:2]
        rows.append(
            Clip(name, f"{name}.mp4", "x", name, Split.TRAIN, frames, 25.0, width, height, 0, "", Status.OK, "", "")
        )
    return ClipSet(("x",), tuple(rows), str(folder))


def _videos(frames: int) -> Iterator[tuple[str, list[np.ndarray]]]:
    data = shared_data()
    for number, file in enumerate(REAL_CLIPS.values() if data else ()):
        pictures = list(iter_frames(data / "clips" / file, start=5, stop=5 + frames))
        yield f"{number}", [picture[: len(picture) // 2 * 2, : picture.shape[1] // 2 * 2] for picture in pictures]
    if data is None:
        world = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        for number in range(4):
            yield f"{number}", [world[:240, 2 * t : 320 + 2 * t] for t in range(frames)]


if __name__ == "__main__":
    print(table(quick="--quick" in sys.argv))
