"""What ingest, flow and a training step cost on this machine: measured on a few clips, in a process of its own.

A process of its own has a peak of memory of its own. A second reading of a time is taken where the first one compiles.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from kineflow.data.source import open_source
from kineflow.spec.status import Status
from kineflow.spec.tvl1 import PRESETS, Preset
from kineflow.storage.errors import KineflowError
from kineflow.survey.rules import Descriptor, NetworkSize, Window

LONGEST_SEC = 60.0
"""A video that is longer is not tried: ingest decodes all of it."""

_STEPS = 3
_MOST_PAIRS = 48
_EFFICIENCY, _USED_CORES = 0.85, 8  # of threads in training: measured with two; with more than eight, a guess


@dataclass(frozen=True)
class Trial:
    """What is tried.

    Attributes:
        root: Of the source.
        names: Of a few videos.
        short_side, fps: Of the stored form; ``fps`` 0 keeps the rate.
        preset, bound_px: Of flow.
        network: To train a few steps of; None trains none.
        descriptor: To describe a window with; None describes none.
        window: That it sees.
        batch: Clips a step.
    """

    root: str
    names: tuple[str, ...]
    short_side: int
    fps: float
    preset: Preset
    bound_px: float
    network: NetworkSize | None
    descriptor: Descriptor | None
    window: Window
    batch: int


@dataclass(frozen=True)
class Costs:
    """What it costs; CPU seconds are of all threads together, 0 where nothing could be tried.

    Attributes:
        ingest_cpu_sec: For one million source pixels (width × height × frames).
        flow_cpu_sec: For one million stored pixels: solving, reading and writing.
        step_sec: A training step by the clock, of a machine that does nothing else.
        is_busy: Whether other programs were seen to be at work here.
        bf16_speedup: How many times as fast a step is in bfloat16; 0 where it was not tried.
        window_cpu_sec: For describing a window.
        mb_per_clip: That a clip takes in a training step, over the network alone.
        peak_mb: Memory of a process that does all of it.
    """

    ingest_cpu_sec: float = 0.0
    flow_cpu_sec: float = 0.0
    step_sec: float = 0.0
    window_cpu_sec: float = 0.0
    mb_per_clip: float = 0.0
    peak_mb: float = 0.0
    is_busy: bool = False
    bf16_speedup: float = 0.0


def measure_costs(trial: Trial) -> Costs:
    """Try it in a new process; nothing is known (zeros) where that process dies."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_costs, trial).result()
        except BrokenProcessPool:
            return Costs()


def _costs(trial: Trial) -> Costs:
    import torch

    with tempfile.TemporaryDirectory(prefix="kineflow-") as folder:
        ingest, stored = _ingest(trial, Path(folder))
        flow = _flow(trial, stored, Path(folder))
    del torch
    before = _peak_mb()
    step, is_busy, speedup = _step(trial) if trial.network else (0.0, False, 0.0)
    taken = _gpu_mb() or _peak_mb() - before
    described = _describe(trial.descriptor) if trial.descriptor else 0.0
    per_clip = max(taken, 1.0) / trial.batch if step else 0.0
    return Costs(ingest, flow, step, described, per_clip, _peak_mb(), is_busy, speedup)


def _ingest(trial: Trial, folder: Path) -> tuple[float, list[Path]]:
    """CPU seconds a million source pixels, and the stored clips."""
    from kineflow.video.index import index_video
    from kineflow.video.store import Part, StoredForm, store_video

    source, form = open_source(trial.root), StoredForm(short_side=trial.short_side, fps=trial.fps)
    stored: list[Path] = []
    pixels, started = 0, time.process_time()
    for number, name in enumerate(trial.names):
        try:
            with source.fetch(name) as path:
                index = index_video(path)
                if index.status is not Status.OK or index.timeline.seconds > LONGEST_SEC:
                    continue
                target = folder / f"{number}.mp4"
                store_video(path, target, index=index, part=Part(0, index.frames), form=form)
        except (KineflowError, OSError):
            continue
        stored.append(target)
        pixels += index.width * index.height * index.frames
    return ((time.process_time() - started) / (pixels / 1e6), stored) if pixels else (0.0, [])


def _flow(trial: Trial, stored: Sequence[Path], folder: Path) -> float:
    """CPU seconds a million stored pixels."""
    import torch

    from kineflow.flow.tvl1 import tvl1_flow
    from kineflow.sets.flow_file import write_flow
    from kineflow.spec.quantise import quantise
    from kineflow.video.decode import read_frames

    params = PRESETS[trial.preset]
    warm = torch.zeros(1, 16, 16, dtype=torch.uint8)
    tvl1_flow(warm, warm, params)
    pixels, started = 0, time.process_time()
    for number, path in enumerate(stored):
        grey = torch.from_numpy(read_frames(path, pixel_format="gray")[: _MOST_PAIRS + 1])
        if len(grey) < 2:
            continue
        flow = tvl1_flow(grey[:-1], grey[1:], params).permute(0, 2, 3, 1).numpy()
        write_flow(folder / f"{number}.flow.mp4", quantise(flow, trial.bound_px))
        pixels += grey[1:].numel()
    return (time.process_time() - started) / (pixels / 1e6) if pixels else 0.0


def _step(trial: Trial) -> tuple[float, bool, float]:
    """Seconds of a training step by the clock, whether others use this machine, and what bfloat16 gains on a CPU.

    Threads that wait for each other are slower than one where other programs run: measured on two cores, 3 to 9 s in
    place of .2. What one thread takes in CPU time hardly changes then (.38 s), so it is divided among the cores.
    """
    import torch

    from kineflow.models.registry import create_model
    from kineflow.training.precision import multiplies_bf16

    assert trial.network is not None
    size, device = trial.network, torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = create_model(
        "s3d_g", num_classes=8, width=size.width, last_stage=size.last_stage, bn_momentum=size.bn_momentum
    ).to(device)
    optimiser = torch.optim.AdamW(network.parameters())
    clips = torch.randn(trial.batch, 3, trial.window.frames, size.crop, size.crop, device=device)

    def quickest(clock: Callable[[], float], *, bf16: bool = device.type == "cuda") -> float:
        seconds = []
        for _ in range(_STEPS):
            started = clock()
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                loss = network(clips).float().square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            float(loss.detach())  # waits for the GPU
            seconds.append(clock() - started)
        return min(seconds[1:])  # the first one compiles and allocates

    if device.type == "cuda":
        return quickest(time.monotonic), False, 0.0
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = quickest(time.process_time)
    speedup = alone / quickest(time.process_time, bf16=True) if multiplies_bf16() else 0.0
    torch.set_num_threads(cores)
    together = quickest(time.monotonic)
    if together < alone or cores == 1:
        return together, False, speedup
    return alone / (_EFFICIENCY * min(cores, _USED_CORES)), True, speedup


def _describe(descriptor: Descriptor) -> float:
    """CPU seconds of one window; weights do not matter."""
    import torch

    from kineflow.models.clip_descriptor import clip_descriptor

    groups = "motion+flow+direction+appearance+change" if descriptor.backbone else "motion+flow+direction"
    network = clip_descriptor(num_classes=0, in_channels=5, groups=groups).eval()
    clip = torch.rand(1, 5, descriptor.frames, descriptor.crop, descriptor.crop)
    seconds = []
    with torch.inference_mode():
        for _ in range(_STEPS):
            started = time.process_time()
            network(clip)
            seconds.append(time.process_time() - started)
    return min(seconds[1:])


def _peak_mb() -> float:
    """The most memory that this process has held."""
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _gpu_mb() -> float:
    """The most memory of a GPU that this process has held; 0 where it uses none."""
    import torch

    return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0
