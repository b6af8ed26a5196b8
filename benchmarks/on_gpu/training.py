"""Clips a second, memory and MFU of training steps, as ``python -m on_gpu.training FILE [--dry]``; see ../on_gpu.sh.

A step is the loop's own: a batch of uint8 clips from pinned memory to the GPU, forward, backward, optimiser. MFU is
the share of the greatest rate, that of a large matrix product here and now, at which the step does the FLOPs that
torch counts in its convolutions and products. A form that fails, or finds no time left, says so in place of figures.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from on_gpu.cases import Case, cases
from on_gpu.record import Record, in_one_line
from torch.utils.flop_counter import FlopCounterMode

from kineflow.training.determinism import deterministic_algorithms
from kineflow.training.device_batches import device_batches
from kineflow.training.settings import RunSettings
from kineflow.training.trainer import Trainer

# What takes no compiling comes first, so that it is measured whatever compiling takes.
FORMS = {
    "eager": ("off", False),
    "eager, deterministic": ("off", True),
    "compiled": ("on", False),
    "graphs": ("graphs", False),
}
SMALLEST_BATCH = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--dry", action="store_true", help="tiny networks, and few steps")
    parser.add_argument("--seconds", type=float, default=300, help="none is begun after them")
    given = parser.parse_args()
    begun, record = time.monotonic(), Record(given.file)
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    peak = peak_flops_per_s(device, 512 if given.dry else 8192)
    record.put("peak_tflops", peak / 1e12)
    flops: dict[str, float] = {}
    rows: list[dict[str, Any]] = []
    for form, case in ((form, case) for form in FORMS for case in cases(given.dry)):
        print(f"{case.name}, {form}, after {time.monotonic() - begun:.0f} s", flush=True)
        row: dict[str, Any] = {"training": case.name, "form": form}
        if time.monotonic() - begun > given.seconds:
            rows.append({**row, "failed": "no time was left"})
        else:
            record.put("steps", [*rows, {**row, "failed": "was under way when its time was over"}])
            try:
                row |= measured(case, form, device, steps=3 if given.dry else 10, flops=flops)
                row["mfu"] = row["clips_per_s"] * flops[case.name] / peak
            except Exception as error:
                row["failed"] = in_one_line(error)
            rows.append(row)
        record.put("steps", rows)
        gc.collect()
        torch.compiler.reset()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def measured(case: Case, form: str, device: torch.device, *, steps: int, flops: dict[str, float]) -> dict[str, Any]:
    """Figures of one form; halves the batch until it fits into memory. Sets FLOPs a clip of a case that has none."""
    clips = case.size.clips
    while True:
        try:
            return measured_with(case, clips, form, device, steps=steps, flops=flops)
        except torch.OutOfMemoryError:
            if clips // 2 < SMALLEST_BATCH:
                raise
        clips //= 2
        gc.collect()
        torch.cuda.empty_cache()


def measured_with(
    case: Case, clips: int, form: str, device: torch.device, *, steps: int, flops: dict[str, float]
) -> dict[str, Any]:
    """Figures of one form with so many clips a step."""
    compile, deterministic = FORMS[form]
    run = RunSettings(steps=1000, batch_size=clips, compile=compile, deterministic=deterministic)
    with deterministic_algorithms(deterministic):
        torch.manual_seed(0)
        trainer = Trainer(case.task(case.size), run, seed=0, device=device)
        batch = case.batch(clips)
        if case.name not in flops:
            with FlopCounterMode(display=False) as counter:
                trainer.step(batch)
            flops[case.name] = counter.get_total_flops() / clips
        first = _seconds(trainer, batch, device, steps=2)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        spent = [_seconds(trainer, batch, device, steps=steps) / steps for _ in range(3)]
        losses = trainer.take_losses()
    return {
        "clips": clips,
        "frames": case.size.frames,
        "side_px": case.size.side,
        "precision": str(trainer.autocast.fast_dtype) if trainer.autocast._enabled else "torch.float32",
        "gflops_a_clip": flops[case.name] / 1e9,
        "first_steps_s": first,
        "step_s": statistics.median(spent),
        "step_s_all": spent,
        "clips_per_s": clips / statistics.median(spent),
        "memory_gib": torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None,
        "last_loss": losses[-1]["loss"],
    }


def _seconds(trainer: Trainer, batch: Any, device: torch.device, *, steps: int) -> float:
    _wait_for(device)
    begun = time.perf_counter()
    for moved in device_batches(repeat(batch, steps), device):
        trainer.step(moved)
    _wait_for(device)
    return time.perf_counter() - begun


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_flops_per_s(device: torch.device, side: int) -> float:
    """Of a product of two square matrices in what training computes in: bfloat16 on a GPU, float32 on a CPU."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    spent = []
    for _ in range(13):
        _wait_for(device)
        begun = time.perf_counter()
        one @ other
        _wait_for(device)
        spent.append(time.perf_counter() - begun)
    return 2 * side**3 / statistics.median(spent[3:])


if __name__ == "__main__":
    main()
