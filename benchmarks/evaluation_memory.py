"""Peak memory of the papers' tests, by length of the videos: ``python benchmarks/evaluation_memory.py``.

The tests of ``params/*_ucf101.yaml``, with their windows, crops, batches and decoding processes, on videos of 340x256.
It is reading that is measured, so networks are tiny ones of the same inputs. They wait at first, until all processes
have read as far ahead as they may. A batch's input lies in host memory, as on a CPU. Of all processes together, sampled
every 50 ms: host memory counts what they share once, and has shared memory in it. A folder that is given keeps the
videos; ``--only TEST …`` measures some of ``TESTS``, ``--lengths 100 400`` on shorter videos.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from flow_tables.layout import markdown
from torch import Tensor, nn

from kineflow.evaluation.protocol import score_clips
from kineflow.evaluation.settings import EvaluateSettings
from kineflow.evaluation.view_stream import PART_BYTES, ViewReader, parts_of
from kineflow.models.card import ModelCard
from kineflow.models.registry import create_model
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_file import write_flow
from kineflow.sets.flow_set import FlowEntry, FlowSet
from kineflow.spec.modality import Modality, channels_of
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.sampling import ClipSpec, clips_laid_out
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.video.encode import write_video

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT = 340, 256
LENGTHS = (100, 400, 2000, 20_000)
MIB = 2**20
PARTS = 20  # more than 8 processes have under way
AHEAD_SEC = 20.0


@dataclasses.dataclass(frozen=True)
class Test:
    """A model of a paper's file: the section that trains it, and what that section leaves to the recipe."""

    recipe: str
    section: str
    modality: Modality
    segments: int = 0
    flow_frames: int = 1
    frames_from: str = ""  # the section with the length of its windows, if another
    over_frames: bool = False
    model: str = ""  # its name in the evaluation, if another


TESTS = {
    "TSN, RGB": Test("tsn", "spatial", "rgb", segments=3),
    "TSN, difference": Test("tsn", "difference", "rgb_difference", segments=3),
    "TSN, flow": Test("tsn", "temporal", "flow", segments=3),
    "ST-ResNet, appearance": Test("st_resnet", "appearance", "rgb", segments=1),
    "ST-ResNet, motion": Test("st_resnet", "motion", "flow", segments=1),
    "ST-ResNet": Test("st_resnet", "st_resnet", "rgb_flow", flow_frames=10),
    "ST-ResNet*": Test("st_resnet", "st_resnet_star", "rgb_flow", flow_frames=10),
    "ALSTM": Test("alstm", "backbone", "rgb", frames_from="attention", over_frames=True),
    "VideoLSTM": Test("videolstm", "temporal", "flow", frames_from="attending", over_frames=True),
    "D3D, teacher": Test("d3d", "teacher", "flow"),
    "D3D, student": Test("d3d", "student", "rgb"),
}


class Mean(nn.Module):
    """Classes by the mean over some of a clip's pixels."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,T,H,W] → [B,K]."""
        scores: Tensor = self.classifier(x[..., ::16, ::16].mean(dim=(2, 3, 4)))
        return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="a temporary one by default")
    parser.add_argument("--lengths", nargs="+", type=int, default=LENGTHS, metavar="FRAMES", help="of the videos")
    parser.add_argument("--only", nargs="+", choices=TESTS, default=list(TESTS), metavar="TEST", help="of all tests")
    parser.add_argument("--test", help=argparse.SUPPRESS)
    parser.add_argument("--frames", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.test:
        score(TESTS[given.test], given.frames, given.folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        for frames in given.lengths:
            write_media(folder, frames)
        rows = [
            [
                name,
                *(
                    f"{host:.0f} ({shared:.0f})"
                    for host, shared in (peaks(name, each, folder) for each in given.lengths)
                ),
            ]
            for name in given.only
        ]
    title = "Peak host memory of all processes (of it shared), MiB, by frames of each video"
    print(markdown(title, ["test", *map(str, given.lengths)], rows, f"Videos of {WIDTH}x{HEIGHT}; networks are tiny."))


def peaks(name: str, frames: int, folder: Path) -> tuple[float, float]:
    """Peak MiB of host memory, and of shared memory in it."""
    command = [sys.executable, "-W", "ignore", __file__, str(folder), "--test", name, "--frames", str(frames)]
    process, host, shared = subprocess.Popen(command), 0.0, 0.0
    while process.poll() is None:
        processes = list(tree(process.pid))
        now = [memory_of(each) for each in processes]
        waiting = handed_over(processes)
        host = max(host, sum(pss for pss, _ in now) + waiting)
        shared = max(shared, sum(part for _, part in now) + waiting)
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"{name} failed")
    print(f"{name}, {frames} frames: {host:.0f} MiB, {shared:.0f} of it shared", file=sys.stderr)
    return host, shared


def tree(process: int) -> Iterator[int]:
    """A process and those that it has started."""
    yield process
    for listing in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            children = listing.read_text().split()
        except OSError:
            continue
        for child in children:
            yield from tree(int(child))


def memory_of(process: int) -> tuple[float, float]:
    """Its proportional share of memory, and of shared memory, MiB; nothing of a process that has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    values = {line.partition(":")[0]: line.split()[1] for line in lines if line.endswith("kB")}
    return int(values.get("Pss", 0)) / 1024, int(values.get("Pss_Shmem", 0)) / 1024


def handed_over(processes: Sequence[int]) -> float:
    """MiB of shared memory that no process has mapped: what is between the one that wrote it and the one to read it."""
    sizes: dict[int, int] = {}
    for process in processes:
        for opened in Path(f"/proc/{process}/fd").glob("*"):
            with suppress(OSError):
                if str(opened.readlink()).startswith("/dev/shm/"):
                    facts = opened.stat()
                    sizes[facts.st_ino] = facts.st_blocks * 512
    return sum(sizes.values()) / MIB


def score(test: Test, frames: int, folder: Path) -> None:
    """Score clips of one length by one test."""
    torch.set_num_threads(1)
    params = yaml.safe_load((ROOT / "params" / f"{test.recipe}_ucf101.yaml").read_text())
    settings = EvaluateSettings.model_validate(params["evaluation"])
    card = ModelCard(test.model or test.section, "tiny", {}, ("a", "b"), preprocessing_of(test, params))
    views = settings.views_of(card.name)
    of_one = ViewReader(*media_sets(folder, frames, clips=1), card.preprocessing, views.crops)
    [clip] = of_one.clip_set.clips
    spec = ClipSpec(card.preprocessing.frames, card.preprocessing.stride_frames, card.preprocessing.short)
    windows = np.unique(clips_laid_out(frames - 1, spec, views.clips_per_video, views.windows), axis=0)
    asked_bytes = len(np.unique(windows)) * of_one.step_bytes(clip)
    parts = asked_bytes / PART_BYTES if test.over_frames else len(parts_of(clip, windows, of_one))
    clip_set, flow_set = media_sets(folder, frames, clips=math.ceil(PARTS / max(1, parts)))
    score_clips(
        network_of(test, card.preprocessing),
        card,
        clip_set,
        flow_set,
        Split.TEST,
        clips_per_video=views.clips_per_video,
        crops=views.crops,
        layout=views.windows,
        view_aggregation=views.view_aggregation,
        batch_size=settings.batch_size,
        workers=settings.workers,
    )


def preprocessing_of(test: Test, params: dict[str, Any]) -> Preprocessing:
    trained = params[test.section]
    timed = params[test.frames_from or test.section]
    channels = channels_of(test.modality, flow_frames=test.flow_frames)
    return Preprocessing(
        test.modality,
        timed.get("test_frames") or timed["frames"],
        timed.get("test_stride_frames") or timed.get("stride_frames", 1),
        trained["short_side"],
        trained["crop"],
        (128.0,) * channels,
        (64.0,) * channels,
        segments=test.segments,
        fit=trained.get("fit", "crop"),
        short=timed.get("short", "repeat_last"),
    )


class Waiting:
    """Waits when it is called for the first time, before or in a network's first pass."""

    def __init__(self) -> None:
        self._waited = False

    def __call__(self, *_: object) -> None:
        time.sleep(0.0 if self._waited else AHEAD_SEC)
        self._waited = True


def network_of(test: Test, wanted: Preprocessing) -> nn.Module:
    channels = len(wanted.mean)
    if not test.over_frames:
        network: nn.Module = Mean(channels, 2)
        network.register_forward_pre_hook(Waiting())
        return network
    network = create_model(
        "alstm",
        num_classes=2,
        in_channels=channels,
        backbone="resnet50",
        width=0.125,
        output_stride=32,
        cells=49,
        hidden=8,
        head_width=8,
        layers=1,
    )
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_pre_hook(Waiting())
    return network


def media_sets(folder: Path, frames: int, *, clips: int) -> tuple[ClipSet, FlowSet]:
    listed = tuple(
        Clip(f"c{number}", f"{frames}.mp4", "ab"[number % 2], f"g{number}", Split.TEST, frames, 25.0, WIDTH, HEIGHT, 0,
             f"{number:064x}", Status.OK, "", "s")
        for number in range(clips)
    )  # fmt: skip
    entries = {
        clip.clip_id: FlowEntry(clip.clip_id, f"{frames}.flow.mp4", frames - 1, WIDTH, HEIGHT, Status.OK, "")
        for clip in listed
    }
    return ClipSet(("a", "b"), listed, str(folder)), FlowSet(20.0, entries, str(folder))


def write_media(folder: Path, frames: int) -> None:
    """A video of drifting noise and flow of as many frames, unless they are there."""
    facts = folder / f"{frames}.json"
    if facts.is_file():
        return
    print(f"write videos of {frames} frames", file=sys.stderr)
    folder.mkdir(parents=True, exist_ok=True)
    write_video(folder / f"{frames}.mp4", noise(frames, 3), fps=25, gop=12, preset="ultrafast")
    write_flow(folder / f"{frames}.flow.mp4", noise(frames - 1, 2))
    facts.write_text(json.dumps({"frames": frames, "size": [WIDTH, HEIGHT]}))


def noise(frames: int, channels: int) -> Iterator[np.ndarray]:
    coarse = np.random.default_rng(0).integers(0, 256, (HEIGHT // 8, WIDTH // 8 + 1, channels), dtype=np.uint8)
    image = np.kron(coarse, np.ones((8, 8, 1), np.uint8))[:, :WIDTH]
    for moment in range(frames):
        yield np.roll(image, moment % WIDTH, axis=1)


if __name__ == "__main__":
    main()
