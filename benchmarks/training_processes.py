"""Clips a second of training by one process and by two on this CPU, from the same batches.

Run it as ``python benchmarks/training_processes.py [--quick]``. The forms take turns; each figure is a median. Wall
time is of the slowest process and CPU time of all together, from the first step to the last, start-up left out.

one process, one thread     what a core does alone
one process, all cores      torch splits each operation between threads
a process a core            each takes its share of every batch; gradients are averaged and normalisation synchronised
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flow_tables.layout import markdown

from kineflow.data.batch_sampler import BatchSampler, Pool, SampleRef
from kineflow.models.registry import create_model
from kineflow.spec.preprocessing import Preprocessing
from kineflow.tracking.tracker import NULL_TRACKER
from kineflow.training import processes
from kineflow.training.loop import fit
from kineflow.training.settings import RunSettings
from kineflow.training.tasks import Classification

FRAMES, SIDE, CLASSES, BATCH = 16, 64, 10, 8
STEPS = {"quick": 4, "full": 8}
REPEATS = {"quick": 1, "full": 3}
CORES = os.cpu_count() or 1
FORMS = {  # processes, threads of each
    "one process, one thread": (1, 1),
    "one process, all cores": (1, CORES),
    "a process a core": (CORES, 1),
}


class Clips(torch.utils.data.Dataset):
    """Noise, in memory: what is measured is training, not decoding."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.clips = torch.from_numpy(rng.integers(0, 256, (BATCH, 3, FRAMES, SIDE, SIDE), dtype=np.uint8))

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: int | SampleRef) -> dict[str, torch.Tensor]:
        number = key.clip if isinstance(key, SampleRef) else key
        return {"rgb": self.clips[number], "label": torch.tensor(number % CLASSES)}


def train(steps: int, work: Path) -> None:
    torch.manual_seed(0)
    network = create_model("s3d", num_classes=CLASSES, width=0.25)
    clips, seen = Clips(), Preprocessing("rgb", FRAMES, 1, SIDE, SIDE, mean=(128.0,) * 3, std=(64.0,) * 3)
    fit(
        Classification(network, seen),
        train=clips,
        batch_sampler=BatchSampler([Pool(range(len(clips)), BATCH)], steps=steps, seed=0),
        val=clips,
        settings=RunSettings(steps=steps, validate_every_steps=steps, batch_size=BATCH),
        seed=0,
        work=work,
        tracker=NULL_TRACKER,
        device="cpu",
    )


def measure(steps: int, folder: Path) -> None:
    """In each process: seconds of ``steps`` steps and a validation, after a first training that warms up."""
    train(1, folder / "first")
    processes.barrier()
    wall, cpu = time.perf_counter(), time.process_time()
    train(steps, folder / "second")
    taken = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    (folder / f"{processes.rank()}.json").write_text(json.dumps(taken))


def rates(form: str, steps: int) -> dict[str, float]:
    """Clips a second of wall time, and of CPU time."""
    count, threads = FORMS[form]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)] if count > 1 else []
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, *launcher, __file__, "--measure", str(steps), folder]
        subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": str(threads)}, check=True)
        taken: list[dict[str, Any]] = [json.loads(path.read_text()) for path in Path(folder).glob("*.json")]
    clips = steps * BATCH
    return {"wall": clips / max(each["wall"] for each in taken), "cpu": clips / sum(each["cpu"] for each in taken)}


def table(how: str) -> str:
    found: dict[str, list[dict[str, float]]] = {form: [] for form in FORMS}
    for repeat in range(REPEATS[how]):
        for form in FORMS:
            print(f"{form}, {repeat + 1} of {REPEATS[how]}", file=sys.stderr)
            found[form].append(rates(form, STEPS[how]))
    medians = {
        form: {clock: statistics.median(each[clock] for each in measured) for clock in ("wall", "cpu")}
        for form, measured in found.items()
    }
    alone = medians["one process, one thread"]
    rows = [
        [
            form,
            *(f"{medians[form][clock]:.2f}" for clock in ("wall", "cpu")),
            *(f"{medians[form][clock] / alone[clock]:.2f}x" for clock in ("wall", "cpu")),
        ]
        for form in FORMS
    ]
    return markdown(
        f"Training S3D (width 1/4) on clips of {FRAMES}x{SIDE}x{SIDE}, {BATCH} a step, {CORES} cores",
        ["form", "clips/s", "clips/CPU s", "clips/s to one thread", "clips/CPU s to one thread"],
        rows,
        f"Medians of {REPEATS[how]}; {STEPS[how]} steps and a validation each. Load of the machine at the end: "
        f"{os.getloadavg()[0]:.1f}.",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure training on several processes.")
    parser.add_argument("--quick", action="store_true", help="a minute or two: one short run of each")
    parser.add_argument("--measure", nargs=2, metavar=("STEPS", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(int(given.measure[0]), Path(given.measure[1]))
    else:
        print(table("quick" if given.quick else "full"))
