"""Memory that each training at the papers' scale needs of one GPU: ``python benchmarks/memory_needed.py [FILE …]``.

Counted without a GPU, with tensors that have shapes and no contents: weights, gradients, the optimiser's states, the
clips, and what the backward pass needs of the forward one. FILEs are parameter files, by default those of the papers.
``--check`` holds the count against the memory that a small training takes here.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from flow_tables.layout import markdown
from memory_model.counting import held_by
from memory_model.trainings import trainings

from kineflow.models.registry import create_model
from kineflow.spec.preprocessing import Preprocessing
from kineflow.training.settings import TrainSettings
from kineflow.training.tasks import Batch, Classification

ROOT = Path(__file__).resolve().parents[1]
GIB = 2**30
HEADER = ["file", "training", "clips at once", "weights", "float32: kept", "in all", "bfloat16: kept", "in all"]
NOTES = (
    "GiB. Weights: with gradients, optimiser and average. In all: with two batches of clips; what an operation needs "
    "while it runs (cuDNN's workspace) and what the allocator loses are not counted."
)
# Blocks of this size and more go back to the system when they are freed, so that its count is that of live tensors.
EXACT = {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, default=sorted((ROOT / "params").glob("*_ucf101.yaml")))
    parser.add_argument("--check", action="store_true", help="count a small training, and run it")
    given = parser.parse_args()
    if given.check:
        check()
        return
    print(markdown("Memory of a training step", HEADER, [row for path in given.files for row in rows_of(path)], NOTES))


def rows_of(path: Path) -> Iterator[list[str]]:
    """A row for each training of a parameter file."""
    for training in trainings(re.sub("_[a-z]+[0-9]+$", "", path.stem), path):
        print(path.stem, training.name, file=sys.stderr, flush=True)
        counts = [held_by(training.build, training.batch, training.settings, bf16=bf16) for bf16 in (False, True)]
        sizes = [counts[0].weights, *(size for each in counts for size in (each.kept, each.total))]
        yield [
            path.stem,
            training.name,
            str(training.settings.micro_batch_size),
            *(f"{size / GIB:.2f}" for size in sizes),
        ]


def check() -> None:
    """Print what is counted, and by how much this process grows in a forward pass of the same step."""
    if not EXACT.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **EXACT})
    rows = []
    for activation_checkpointing in (True, False):  # the greater peak last
        settings = TrainSettings(batch_size=4, precision="32", activation_checkpointing=activation_checkpointing)
        counted = held_by(partial(small_task, settings), small_batch, settings, bf16=False).kept
        sizes = (counted, *taken_by(settings))
        rows.append(["on" if activation_checkpointing else "off", *(f"{size / 2**20:.0f}" for size in sizes)])
    header = ["activation_checkpointing", "counted", "taken", "greatest in the step"]
    print(markdown("S3D-G, 4 clips of 16x112², float32", header, rows, "MiB, beside what is there before the step."))


def taken_by(settings: TrainSettings) -> tuple[int, int]:
    """Bytes by which this process grows in the forward pass of a step, and at most within the step."""
    task, batch = small_task(settings).train(), small_batch(4)
    task.loss(batch)["loss"].backward()  # once before: libraries take memory of their own at first
    before = resident()
    loss = task.loss(batch)["loss"]
    taken = resident() - before
    loss.backward()
    return taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before


def small_task(settings: TrainSettings) -> Classification:
    seen = Preprocessing("rgb", 16, 1, 112, 112, mean=(128.0,) * 3, std=(64.0,) * 3)
    return Classification(create_model("s3d_g", num_classes=101), seen, **settings.task_options())


def small_batch(clips: int) -> Batch:
    batch: Batch = {"rgb": torch.zeros((clips, 3, 16, 112, 112), dtype=torch.uint8), "label": torch.zeros(clips).long()}
    return {**batch, "labelled": torch.arange(clips)}


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
