"""Clips a second of a ConvLSTM, in three forms that give the same states.

Run it as ``python benchmarks/conv_lstm.py [--quick]``. The forms take turns in one run, and each figure is a median: of
CPU time on one thread, and where there is a GPU of time on it. ``--quick`` leaves the paper's size out on a CPU.

gate by gate    eight convolutions a step, as in VideoLSTM's released code
step by step    one convolution a step, of x_t and h_{t-1} stacked, as most public ConvLSTMs have it
over time       Kineflow: the input convolutions of all steps as one batch, then one convolution a step for h_{t-1}
"""

from __future__ import annotations

import argparse
import sys

import torch
import torch.nn.functional as F
from flow_tables.layout import markdown
from timing import medians
from torch import Tensor

from kineflow.models.conv_lstm import ConvLSTMCell, unroll
from kineflow.models.map_attention import draw_kernel
from kineflow.models.recurrent import gated

STEPS = 30
SIZES = {"demo": (64, 4), "paper": (512, 7)}  # channels, side of the map
BATCHES = {"cpu": {"demo": (1, 8, 32), "paper": (1,)}, "cuda": {"demo": (1, 32, 128), "paper": (1, 8, 32, 128)}}
REPEATS = {"quick": 3, "demo": 5, "paper": 3}


def gate_by_gate(cell: ConvLSTMCell, x: Tensor) -> Tensor:
    state, hidden = cell.rest(x), []
    gates = list(
        zip(*(part.chunk(4) for part in (cell.input.weight, cell.recurrent.weight, cell.input.bias)), strict=True)
    )
    for step in range(x.shape[1]):
        parts = [
            F.conv2d(x[:, step], w_x, padding=1) + F.conv2d(state.hidden, w_h, padding=1) + b[:, None, None]
            for w_x, w_h, b in gates
        ]
        state = gated(torch.cat(parts, dim=1), state.memory)
        hidden.append(state.hidden)
    return torch.stack(hidden, dim=1)


def step_by_step(cell: ConvLSTMCell, x: Tensor) -> Tensor:
    state, hidden = cell.rest(x), []
    weight = torch.cat([cell.input.weight, cell.recurrent.weight], dim=1)
    for step in range(x.shape[1]):
        stacked = torch.cat([x[:, step], state.hidden], dim=1)
        state = gated(F.conv2d(stacked, weight, cell.input.bias, padding=1), state.memory)
        hidden.append(state.hidden)
    return torch.stack(hidden, dim=1)


def over_time(cell: ConvLSTMCell, x: Tensor) -> Tensor:
    return unroll(cell, x, cell.rest(x))


FORMS = {"gate by gate": gate_by_gate, "step by step": step_by_step, "over time": over_time}


def table(quick: bool) -> str:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)
    rows = []
    for size, (channels, side) in SIZES.items():
        if quick and device == "cpu" and size == "paper":
            continue
        torch.manual_seed(0)
        cell = ConvLSTMCell(channels, channels, draw=draw_kernel).to(device)
        for clips in BATCHES[device][size]:
            x = torch.randn(clips, STEPS, channels, side, side, device=device)
            for work in ("forward", "training step"):
                print(f"{size}, {clips} clips, {work}", file=sys.stderr)
                seconds = medians(FORMS, cell, x, learn=work != "forward", repeats=REPEATS["quick" if quick else size])
                rates = {form: clips / taken for form, taken in seconds.items()}
                rows.append(
                    [
                        f"{channels}x{side}x{side}",
                        clips,
                        work,
                        *(f"{rate:.3g}" for rate in rates.values()),
                        *(f"{rates['over time'] / rates[form]:.2f}x" for form in ("gate by gate", "step by step")),
                    ]
                )
    header = ["map", "clips", "work", *FORMS, "over time / gate by gate", "over time / step by step"]
    clock = "time on the GPU" if device == "cuda" else "CPU time on one thread"
    return markdown(
        f"Clips of {STEPS} steps a second through one ConvLSTM, kernels of 3",
        header,
        rows,
        f"Medians of {clock}. Greatest difference between the forms' states: {_difference(device):.1e}.",
    )


def _difference(device: str) -> float:
    torch.manual_seed(0)
    cell = ConvLSTMCell(64, 64, draw=draw_kernel).to(device)
    x = torch.randn(2, STEPS, 64, 7, 7, device=device)
    with torch.no_grad():
        first, *others = (run(cell, x) for run in FORMS.values())
    return max(float((first - other).abs().max()) for other in others)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure ConvLSTM.")
    parser.add_argument("--quick", action="store_true", help="under a minute: fewer repeats, small maps on a CPU")
    print(table(parser.parse_args().quick))
