"""ST-ResNet's convolutions over time: each clip as one map of T × H·W, and by ``conv3d``.

Run it as ``python benchmarks/st_resnet.py [--quick]``. Both forms take turns in one run and give the same maps; each
figure is a median: of CPU time on one thread, or where there is a GPU of time on it. ``--quick`` repeats less.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import torch
import torch.nn.functional as F
from flow_tables.layout import markdown
from timing import medians
from torch import Tensor, nn

from kineflow.models.st_resnet import over_time

CLIPS, STEPS = 2, 5
# Channels in and out of the two convolutions of each stage's second unit, and the side of its map.
LAYERS = tuple(
    (*channels, side)
    for wide, side in ((256, 56), (512, 28), (1024, 14), (2048, 7))
    for channels in ((wide, wide // 4), (wide // 4, wide))
)


def one_map(layer: Any, images: Tensor) -> Tensor:
    return over_time(layer, images, STEPS)


def by_conv3d(layer: Any, images: Tensor) -> Tensor:
    clips = images.reshape(CLIPS, STEPS, *images.shape[1:]).transpose(1, 2)  # [B,C,T,H,W]
    moved = F.conv3d(clips, layer.weight[..., None], padding=(1, 0, 0))
    return moved.transpose(1, 2).flatten(0, 1)


FORMS = {"conv3d": by_conv3d, "one map": one_map}


def table(quick: bool) -> str:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)
    rows: list[list[object]] = []
    greatest = 0.0
    for before, after, side in LAYERS:
        torch.manual_seed(0)
        layer = nn.Conv2d(before, after, (3, 1), padding=(1, 0), bias=False).to(device)
        images = torch.randn(CLIPS * STEPS, before, side, side, device=device)
        images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
        with torch.no_grad():
            greatest = max(greatest, float((one_map(layer, images) - by_conv3d(layer, images)).abs().max()))
        for work in ("forward", "training step"):
            print(f"{before} to {after} channels, {work}", file=sys.stderr)
            taken = medians(FORMS, layer, images, learn=work != "forward", repeats=3 if quick else 7)
            gain = taken["conv3d"] / taken["one map"]
            figures = [f"{seconds * 1000:.3g}" for seconds in taken.values()]
            rows.append([f"{before} -> {after} @ {side}x{side}", work, *figures, f"{gain:.2f}x"])
    clock = "time on the GPU" if device == "cuda" else "CPU time on one thread"
    return markdown(
        f"Milliseconds for a convolution of three taps over {STEPS} steps of {CLIPS} clips",
        ["channels @ map", "work", *FORMS, "conv3d / one map"],
        rows,
        f"Medians of {clock}. Greatest difference between the forms' maps: {greatest:.1e}.",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="repeat less")
    print(table(quick=parser.parse_args().quick))
