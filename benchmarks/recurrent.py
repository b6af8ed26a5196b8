"""Training clips a second of ALSTM on stored features, and with its frozen backbone in every step.

Run it as ``python benchmarks/recurrent.py [--quick]``. Both forms do the same step on the same clips and reach the same
loss. They take turns in one run, and each figure is a median: of CPU time on one thread, or where there is a GPU of
time on it. Reading is part of neither; stored features are read from files, and the naive form would decode videos.
The second table adds up what a whole training costs, the extraction of the features with it. ``--quick`` leaves the
paper's size out on a CPU.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import Any

import torch
from flow_tables.layout import markdown
from timing import medians
from torch import Tensor

from kineflow.models.registry import create_model
from kineflow.training.attention_losses import step_cross_entropy


@dataclass(frozen=True)
class Size:
    """A network, and a training of it.

    Attributes:
        width, output_stride, side, cells: Of the backbone, its frames in pixels, and its map.
        layers, hidden: Of the LSTM.
        frames: T.
        batch: Clips a step that is timed.
        clip_frames: Moments of a training clip, on average.
        clips, steps, batch_size: Of a whole training.
    """

    width: float
    output_stride: int
    side: int
    cells: int
    layers: int
    hidden: int
    frames: int
    batch: int
    clip_frames: int
    clips: int
    steps: int
    batch_size: int


# As in params/alstm.yaml and params/alstm_ucf101.yaml, but for the batch that is timed.
SIZES = {
    "demo": Size(0.25, 8, 64, 64, 1, 64, 12, batch=8, clip_frames=12, clips=160, steps=400, batch_size=32),
    "paper": Size(1.0, 32, 224, 49, 3, 512, 30, batch=4, clip_frames=186, clips=9537, steps=30000, batch_size=128),
}
REPEATS = {"quick": 3, "demo": 7, "paper": 3}
CLASSES = 101


def tables(quick: bool) -> str:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(1)
    rates: list[list[object]] = []
    wholes: list[list[object]] = []
    for name, size in SIZES.items():
        if quick and device.type == "cpu" and name == "paper":
            continue
        print(name, file=sys.stderr)
        naive, stored, frame = _measure(size, device, REPEATS["quick" if quick else name])
        rates.append([name, size.batch, f"{1 / naive:.3g}", f"{1 / stored:.3g}", f"{naive / stored:.1f}x"])
        seen, extraction = size.steps * size.batch_size, size.clips * size.clip_frames * frame
        whole = [seen * naive, extraction, seen * stored]
        gain = whole[0] / (whole[1] + whole[2])
        wholes.append([name, seen, *(f"{seconds / 60:.3g}" for seconds in whole), f"{gain:.1f}x"])
    clock = "time on the GPU" if device.type == "cuda" else "CPU time on one thread"
    return "\n\n".join(
        (
            markdown(
                "Training clips a second of ALSTM on GoogLeNet",
                ["size", "clips a step", "backbone in every step", "stored features", "ratio"],
                rates,
                f"Medians of {clock}; a step is forward, loss and backward.",
            ),
            markdown(
                "Minutes of a whole training, reckoned from the medians",
                ["size", "clips seen", "backbone in every step", "extraction", "training on features", "ratio"],
                wholes,
                "Another network on the same features costs its training alone.",
            ),
        )
    )


def _measure(size: Size, device: torch.device, repeats: int) -> tuple[float, float, float]:
    """Median seconds: a clip's share of a step in both forms, and a frame's share of the extraction."""
    torch.manual_seed(0)
    network: Any = create_model(
        "alstm",
        num_classes=CLASSES,
        width=size.width,
        output_stride=size.output_stride,
        cells=size.cells,
        layers=size.layers,
        hidden=size.hidden,
        head_width=size.hidden,
        dropout=0.0,
    ).to(device)
    clips = torch.randn(size.batch, 3, size.frames, size.side, size.side, device=device)
    labels = torch.arange(size.batch, device=device)
    features = network.frame_features(clips)

    def in_every_step(network: Any, clips: Tensor) -> Tensor:
        return step_cross_entropy(network.sequence.forward_steps(*network.frame_features(clips)).logits, labels)

    def stored(network: Any, _: Tensor) -> Tensor:
        return step_cross_entropy(network.sequence.forward_steps(*features).logits, labels)

    def extraction(network: Any, clips: Tensor) -> Tensor:
        maps: Tensor = network.frame_features(clips)[0]
        return maps

    torch.testing.assert_close(stored(network, clips), in_every_step(network, clips), rtol=1e-4, atol=0)
    steps = medians({"naive": in_every_step, "stored": stored}, network, clips, learn=True, repeats=repeats)
    once = medians({"once": extraction}, network, clips, learn=False, repeats=repeats)["once"]
    return steps["naive"] / size.batch, steps["stored"] / size.batch, once / (size.batch * size.frames)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="leave out the paper's size on a CPU, and repeat less")
    print(tables(quick=parser.parse_args().quick))
