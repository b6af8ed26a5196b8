"""Clips a second of a TSN whose snippets go through the backbone as one batch, and one after the other.

Run it as ``python benchmarks/tsn.py [--quick]``. Both forms take turns in one run and give the same scores; each
figure is a median: of CPU time on one thread, or where there is a GPU of time on it. ``--quick`` leaves the paper's
size out on a CPU.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import torch
from flow_tables.layout import markdown
from timing import medians
from torch import Tensor

from kineflow.models.registry import create_model

SEGMENTS = 3
# Width, output stride, side of the frames, clips a step.
SIZES = {"demo": (0.125, 8, 64, (1, 4, 16)), "paper": (1.0, 32, 224, (1, 4))}
REPEATS = {"quick": 3, "demo": 7, "paper": 3}


def one_batch(network: Any, x: Tensor) -> Tensor:
    return network(x)


def one_by_one(network: Any, x: Tensor) -> Tensor:
    return torch.stack([network(x[:, :, place : place + 1]) for place in range(SEGMENTS)]).mean(dim=0)


FORMS = {"one by one": one_by_one, "one batch": one_batch}


def table(quick: bool) -> str:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)
    rows: list[list[object]] = []
    greatest = 0.0
    for size, (width, stride, side, batches) in SIZES.items():
        if quick and device == "cpu" and size == "paper":
            continue
        torch.manual_seed(0)
        network = create_model("tsn", num_classes=101, width=width, output_stride=stride, dropout=0.0).to(device)
        for clips in batches:
            x = torch.randn(clips, 3, SEGMENTS, side, side, device=device)
            greatest = max(greatest, _difference(network, x))
            for work in ("forward", "training step"):
                print(f"{size}, {clips} clips, {work}", file=sys.stderr)
                seconds = medians(
                    FORMS, network, x, learn=work != "forward", repeats=REPEATS["quick" if quick else size]
                )
                rates = {form: clips / taken for form, taken in seconds.items()}
                gain = rates["one batch"] / rates["one by one"]
                shape = f"{side}x{side}, width {width:g}"
                rows.append([shape, clips, work, *(f"{rate:.3g}" for rate in rates.values()), f"{gain:.2f}x"])
    clock = "time on the GPU" if device == "cuda" else "CPU time on one thread"
    return markdown(
        f"Clips a second through a TSN of BN-Inception, {SEGMENTS} RGB snippets a clip",
        ["frames", "clips", "work", *FORMS, "one batch / one by one"],
        rows,
        f"Medians of {clock}. Greatest difference between the forms' scores: {greatest:.1e}.",
    )


def _difference(network: Any, x: Tensor) -> float:
    network.eval()
    with torch.no_grad():
        return float((one_batch(network, x) - one_by_one(network, x)).abs().max())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="leave out the paper's size on a CPU, and repeat less")
    print(table(quick=parser.parse_args().quick))
