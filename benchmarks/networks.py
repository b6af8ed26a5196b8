"""Every network beside its public definition: ``python benchmarks/networks.py [--quick] [--peers FOLDER]``.

torchvision's S3D, ResNet-50, GoogLeNet and VGG-16, and Cadene's BN-Inception, all with random weights, forward and
learning. Forms take turns in one run; figures are medians of CPU time on one thread. ``--peers`` keeps what is
installed for it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from flow_tables.layout import markdown
from peers import import_from
from timing import medians
from torch import Tensor, nn

from kineflow.models.registry import create_backbone, create_model

PEERS = ("torchvision==0.28.0", "pretrainedmodels==0.7.4", "munch==4.0.0")
CLASSES = 400
REPEATS = {True: 3, False: 7}


# A build of torchvision for GPUs is enough, and needs these declared: they are not run.
OPERATORS = torch.library.Library("torchvision", "FRAGMENT")
for operator in ("nms", "qnms"):
    OPERATORS.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def public_networks() -> dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module], tuple[int, ...]]]:
    """By name: the public one, ours, and the shape of a batch."""
    import pretrainedmodels
    from torchvision import models

    def s3d() -> nn.Module:
        network = models.video.s3d(weights=None)
        network.avgpool = nn.AdaptiveAvgPool3d(1)  # its own pool needs frames of 224 px
        return network

    return {
        "S3D, 16x112²": (s3d, lambda: create_model("s3d", num_classes=CLASSES), (4, 3, 16, 112, 112)),
        "BN-Inception, 224²": (
            lambda: pretrainedmodels.bninception(num_classes=1000, pretrained=None),
            lambda: create_backbone("bn_inception", num_classes=1000),
            (4, 3, 224, 224),
        ),
        "ResNet-50, 224²": (
            lambda: models.resnet50(weights=None),
            lambda: create_backbone("resnet50", num_classes=1000),
            (4, 3, 224, 224),
        ),
        "GoogLeNet, 224²": (
            lambda: models.googlenet(weights=None, init_weights=False, aux_logits=False),
            lambda: create_backbone("googlenet", num_classes=1000),
            (4, 3, 224, 224),
        ),
        "VGG-16, 224²": (
            lambda: models.vgg16(weights=None),
            lambda: create_backbone("vgg16", num_classes=1000),
            (2, 3, 224, 224),
        ),
    }


class Both(nn.Module):
    """Two networks whose modes are set together."""

    def __init__(self, public: nn.Module, ours: nn.Module) -> None:
        super().__init__()
        self.public, self.ours = public, ours


FORMS = {"public": lambda both, x: both.public(x), "Kineflow": lambda both, x: both.ours(x)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="repeat less")
    parser.add_argument("--peers", type=Path, help="folder that keeps the public packages")
    given = parser.parse_args()
    import_from(given.peers, *PEERS)
    torch.set_num_threads(1)
    rows: list[list[object]] = []
    for name, (public, ours, shape) in public_networks().items():
        torch.manual_seed(0)
        both, batch = Both(public(), ours()), torch.randn(shape)
        for learn in (False, True):
            print(name, "learning" if learn else "forward", file=sys.stderr)
            rows.append(row(name, both, batch, learn, REPEATS[given.quick]))
    print(
        markdown(
            "A batch through each network, seconds",
            ["network", "clips or images", "work", *FORMS, "Kineflow / public"],
            rows,
            f"Medians of CPU time on one thread, {REPEATS[given.quick]} repeats; torch {torch.__version__}.",
        )
    )


def row(name: str, both: Both, batch: Tensor, learn: bool, repeats: int) -> list[object]:
    """Of one network and kind of work."""
    seconds = medians(FORMS, both, batch, learn=learn, repeats=repeats)
    ratio = seconds["Kineflow"] / seconds["public"]
    work = "learning" if learn else "forward"
    return [name, len(batch), work, *(f"{taken:.3f}" for taken in seconds.values()), f"{ratio:.2f}"]


if __name__ == "__main__":
    main()
