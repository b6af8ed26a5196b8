"""Tables of what benchmarks/on_gpu.sh has measured: ``python benchmarks/gpu_tables.py gpu-figures/on_gpu.json``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flow_tables.layout import Table

_STEP = ["training", "form", "clips a step", "clips/s", "ms a step", "GFLOP a clip", "MFU", "GiB", "first steps (s)"]


def tables(figures: dict[str, Any]) -> Iterator[Table]:
    """What of the parts has been measured, and how each part ended."""
    parts = [
        [name, _ended(part), str(part["seconds"]), str(part["limit_s"])] for name, part in figures["parts"].items()
    ]
    yield Table("Parts", ["part", "ended", "seconds", "at most"], parts)
    if tests := figures["tests"]:
        counts = [str(tests[count]) for count in ("passed", "failed", "skipped")]
        failures = [f"{name}: {message}" for name, message in tests["failures"].items()]
        yield Table("Tests on the GPU", ["passed", "failed", "skipped"], [counts], failures)
    flow = figures["flow"]
    for table in flow.get("tables", []):
        yield Table(**table)
    if "not_measured" in flow:
        yield Table("Flow", ["not measured"], [[flow["not_measured"]]])
    yield from _decoding(figures.get("decoding", {}))
    training = figures["training"]
    if "steps" in training:
        note = f"MFU is of {training['peak_tflops']:.3g} TFLOP/s, a large matrix product in this run."
        yield Table("A training step", _STEP, [_step(row) for row in training["steps"]], [note])


def _decoding(figures: dict[str, Any]) -> Iterator[Table]:
    if "not_measured" in figures:
        yield Table("Decoding", ["not measured"], [[figures["not_measured"]]])
    if "rates" not in figures:
        return
    levels = figures["levels"]
    if "mean" in levels:
        note = f"Colours are {levels['mean']:+.2f} levels off those of the CPU's reader, at most {levels['greatest']}."
    else:
        note = f"Not decoded on the device: {levels['failed']}"
    yield Table(
        "Training clips decoded",
        ["sample", "form", "clips/s", "CPU ms a clip of this process"],
        [[row["sample"], row["form"], *_rate(row)] for row in figures["rates"]],
        [note],
    )


def _rate(row: dict[str, Any]) -> list[str]:
    if "failed" in row:
        return [row["failed"], ""]
    return [f"{row['clips_per_s']:.1f}", f"{row['own_cpu_ms_a_clip']:.1f}"]


def _ended(part: dict[str, int]) -> str:
    if part["exit"] in (124, 137):
        return "out of time"
    return "well" if part["exit"] == 0 else f"with exit code {part['exit']}: see its log"


def _step(row: dict[str, Any]) -> list[str]:
    if "failed" in row:
        return [row["training"], row["form"], row["failed"], *[""] * (len(_STEP) - 3)]
    return [
        row["training"],
        row["form"],
        str(row["clips"]),
        f"{row['clips_per_s']:.1f}",
        f"{1000 * row['step_s']:.1f}",
        f"{row['gflops_a_clip']:.3g}",
        f"{row['mfu']:.1%}",
        "" if row["memory_gib"] is None else f"{row['memory_gib']:.1f}",
        f"{row['first_steps_s']:.1f}",
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    figures = json.loads(parser.parse_args().file.read_text())
    print("\n".join(table.markdown(figures["machine"]) for table in tables(figures)))
