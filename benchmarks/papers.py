"""What the papers' files take: ``python benchmarks/papers.py [FILE …]``, and with ``--rehearse`` what each stage took.

Without it, everything is counted, on tensors that have shapes and no contents: operations of all trainings,
GPU-hours from them at the rate that ``docs/scale.md`` assumes, and a step's memory, as
``benchmarks/memory_needed.py`` has it. ``--rehearse`` runs ``kineflow rehearse`` with each file, on a few videos made
in UCF101's layout, 320x240, from random weights in files as the published ones are.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from flow_tables.layout import markdown
from memory_model.counting import held_by
from memory_model.trainings import Training, trainings
from scale_model.assumptions import Assumptions
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from kineflow.models.registry import create_backbone
from kineflow.training.settings import RunSettings
from kineflow.video.encode import write_video
from pipelines.rehearsal import Rehearsal, rehearse

ROOT = Path(__file__).resolve().parents[1]
GIB = 2**30
# Training clips of split 1; UCF101, HMDB51.
CLIPS = {"ucf101": 9537, "hmdb51": 3570}
CLASSES, GROUPS = ("ApplyEyeMakeup", "Archery"), ("g08", "g09", "g10")
WIDTH, HEIGHT = 320, 240


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, default=sorted((ROOT / "params").glob("*_ucf101.yaml")))
    parser.add_argument("--rehearse", action="store_true", help="run every stage on a few clips, one step a training")
    parser.add_argument("--memory", type=float, default=4.0, metavar="GIB", help="of a rehearsed step, at most: 4")
    parser.add_argument("--frames", type=int, default=66, help="of each video of a rehearsal: 66")
    given = parser.parse_args()
    if given.rehearse:
        for path in given.files:
            print(table_of(path, rehearsed(path, given.frames, given.memory)), flush=True)
        return
    print(
        markdown("Counted for the papers' files", HEADER, [row for path in given.files for row in rows_of(path)], NOTES)
    )


HEADER = ["file", "training", "steps", "clips a step", "PFLOP", "GPU-hours", "float32, GiB", "bfloat16, GiB"]
NOTES = (
    "Operations of convolutions and products, forward and backward; teachers' with them, validation and test without. "
    f"GPU-hours at {Assumptions().gpu_peak_flops / 1e12:.0f} TFLOP/s x {Assumptions().gpu_utilisation:.0%}, which is a "
    "guess. Steps of refit and of epochs: as many as there can be."
)


def rows_of(path: Path) -> Iterator[list[str]]:
    """A row for each training of a parameter file."""
    recipe, data = recipe_and_set(path)
    assumed = Assumptions()
    for training in trainings(recipe, path):
        print(path.stem, training.name, file=sys.stderr, flush=True)
        steps = steps_of(training.settings, CLIPS.get(data, CLIPS["ucf101"]))
        flop = steps * operations_of(training) * training.settings.batch_size
        hours = flop / (assumed.gpu_peak_flops * assumed.gpu_utilisation) / 3600
        memory = [held_by(training.build, training.batch, training.settings, bf16=bf16).total for bf16 in (False, True)]
        yield [
            path.stem, training.name, f"{steps:,}", str(training.settings.batch_size), f"{flop / 1e15:,.0f}",
            f"{hours:.2g}", *(f"{size / GIB:.1f}" for size in memory),
        ]  # fmt: skip


def recipe_and_set(path: Path) -> tuple[str, str]:
    """``d3d`` and ``ucf101`` of ``d3d_ucf101.yaml``."""
    recipe, _, data = path.stem.rpartition("_")
    return recipe, data


def steps_of(settings: RunSettings, clips: int) -> int:
    """Steps of a training, of both where it is refitted."""
    return settings.in_steps(clips).steps * (2 if settings.refit else 1)


def operations_of(training: Training) -> float:
    """Of a training step, of one labelled clip."""
    clips = min(2, training.settings.batch_size)
    with torch.device("meta"):
        task = training.build()
    with FakeTensorMode(allow_non_fake_inputs=True):
        task = task.to_empty(device="cpu").train()
        with FlopCounterMode(display=False) as counter:
            task.loss(training.batch(clips))["loss"].backward()
    return counter.get_total_flops() / clips


def rehearsed(path: Path, frames: int, memory: float) -> Rehearsal:
    """Rehearse with a paper's file on made videos."""
    recipe, _ = recipe_and_set(path)
    with tempfile.TemporaryDirectory() as temporary:
        project = Path(temporary)
        write_ucf101(project / "ucf101", frames)
        values = yaml.safe_load(path.read_text())
        values["ingestion"] |= {"source": "ucf101/videos", "annotations": "ucf101/splits"}
        start_from_random_weights(values, project)
        own = project / "params.yaml"
        own.write_text(yaml.safe_dump(values))
        os.chdir(project)
        return rehearse(recipe, own, project, memory_bytes=memory * GIB)


def start_from_random_weights(values: dict[str, Any], project: Path) -> None:
    """Have files of weights in place of published ones, and a flow estimator learn where it would be loaded."""
    network = values["network"]
    if network.pop("checkpoint", ""):
        torch.manual_seed(0)
        path = project / "weights.pth"
        torch.save(create_backbone(network["backbone"], num_classes=1000).state_dict(), path)
        network |= {"checkpoint": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        network.setdefault("normalisation", "caffe")
    if "estimator" in values:
        values["estimator"] = {"width": values["estimator"]["width"], "steps": 1, "batch_size": 2}


def write_ucf101(folder: Path, frames: int) -> None:
    """A few videos of moving squares in UCF101's layout, with lists of split 1."""
    lists = folder / "splits"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text("".join(f"{number} {name}\n" for number, name in enumerate(CLASSES, 1)))
    for split, groups in (("test", ("g01",)), ("train", GROUPS)):
        rows = []
        for number, name in enumerate(CLASSES, 1):
            for group in groups:
                video = f"{name}/v_{name}_{group}_c01.avi"
                write_video(folder / "videos" / video, moving(frames, hash_of(video), number), fps=25)
                rows.append(f"{video} {number}\n" if split == "train" else f"{video}\n")
        (lists / f"{split}list01.txt").write_text("".join(rows))


def hash_of(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)


def moving(frames: int, seed: int, speed: int) -> Iterator[np.ndarray]:
    """Coarse noise, in which a square of other noise moves to the right."""
    rng = np.random.default_rng(seed)
    ground, square = (np.kron(rng.integers(0, 256, (side, wide, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
                      for side, wide in ((HEIGHT // 8, WIDTH // 8), (10, 10)))  # fmt: skip
    for moment in range(frames):
        image, left = ground.copy(), moment * speed % (WIDTH - 80)
        image[80:160, left : left + 80] = square
        yield image


def table_of(path: Path, done: Rehearsal) -> str:
    """The stages of one rehearsal."""
    rows = [
        [
            task.name, f"{task.memory_bytes / GIB:.2f}", f"{task.clips} of {task.of_clips}" if task.of_clips else "",
            f"{task.counted_bytes / GIB:.1f}" if task.counted_bytes else "", f"{task.seconds:.0f}",
        ]
        for task in done.tasks
    ]  # fmt: skip
    header = ["stage", "peak, GiB", "clips at once", "counted for the file's batch, GiB", "s"]
    return markdown(path.stem, header, rows, "Peak: of the greatest process. Counted: float32.")


if __name__ == "__main__":
    main()
