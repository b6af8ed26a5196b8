"""Trainings that one process and several do alike; each of them runs this, and what they end with is compared.

``python together.py FOLDER`` is one process, and under torch's elastic launcher it is one of several. The first writes
a file for each scenario: curves, weights and figures, or the error that ended it.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from kineflow.data.batch_sampler import BatchSampler, Pool, SampleRef
from kineflow.models.registry import create_model
from kineflow.spec.preprocessing import Preprocessing
from kineflow.storage.errors import KineflowError
from kineflow.tracking.tracker import NULL_TRACKER
from kineflow.training import processes
from kineflow.training.d3d_variants import AuxiliaryDecoding
from kineflow.training.distillation import Distillation, Teacher
from kineflow.training.loop import fit
from kineflow.training.recurrent_settings import RecurrentSettings
from kineflow.training.settings import DistillSettings, RunSettings
from kineflow.training.stepwise import StepwiseClassification
from kineflow.training.synchronised_norm import synchronised_norms
from kineflow.training.tasks import Classification
from kineflow.training.two_stream import TwoStream

CLASSES, LABELLED, UNLABELLED = 3, 12, 8
GENTLE = {"name": "sgd", "learning_rate": 1e-3, "schedule": "constant"}
# Deep networks on tiny clips normalise a handful of values a channel, which differ by little more than their rounding:
# two orders of summing would soon be two trainings. Their first normalisation has enough to go by.
STEADY = {"partial_norms": "statistics"}
SGD = {"name": "sgd", "learning_rate": 0.05, "schedule": "constant"}


class Clips(torch.utils.data.Dataset):
    """Noise in which channel ``label`` is brighter; clips from ``LABELLED`` on have no label."""

    def __init__(self, count: int, *, seed: int, **shapes: tuple[int, ...]) -> None:
        rng = np.random.default_rng(seed)
        self.samples = []
        for number in range(count):
            label = number % CLASSES if number < LABELLED else -1
            sample = {"label": torch.tensor(label)}
            for name, shape in shapes.items():
                levels = rng.integers(0, 128, shape, dtype=np.uint8)
                levels[number % CLASSES :][:1] += 100
                sample[name] = torch.from_numpy(levels)
                if name == "features":
                    sample[name] = sample[name].float() / 255
            self.samples.append(sample)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: int | SampleRef) -> dict[str, torch.Tensor]:
        return self.samples[key.clip if isinstance(key, SampleRef) else key]


class Small(nn.Module):
    """Two convolutions with normalisation, and a classifier.

    The convolutions have no bias: the normalisation takes it away again, so that its gradient is rounding alone, and
    AdamW makes a whole step of that.
    """

    def __init__(self, channels: int, *, dropout: float = 0.0, features: int = 6) -> None:
        super().__init__()
        self.num_classes, self.head_hidden_size = CLASSES, features
        self.conv, self.norm = nn.Conv3d(channels, 6, 3, padding=1, bias=False), nn.BatchNorm3d(6)
        self.conv2, self.norm2 = nn.Conv3d(6, features, 1, bias=False), nn.BatchNorm3d(features)
        self.drop, self.classifier = nn.Dropout(dropout), nn.Linear(features, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm2(self.conv2(torch.relu(self.norm(self.conv(x))))))

    def forward_head(self, features: torch.Tensor, *, pre_logits: bool = False) -> torch.Tensor:
        pooled = features.mean(dim=(2, 3, 4))
        return pooled if pre_logits else self.classifier(self.drop(pooled))


def seen(modality: str, channels: int) -> Preprocessing:
    return Preprocessing(modality, 4, 1, 8, 8, mean=(128.0,) * channels, std=(64.0,) * channels)


def small(channels: int = 3, *, seed: int = 0, **changes: Any) -> Small:
    torch.manual_seed(seed)
    return Small(channels, **changes).eval()


def trained(
    task: Classification,
    work: Path,
    *,
    shapes: dict[str, tuple[int, ...]] | None = None,
    val: int = 7,
    per_batch: tuple[int, ...] = (4,),
    settings: type[RunSettings] = RunSettings,
    read_losses_every: int | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Curves, weights and figures of a training of 6 steps in three rounds."""
    shapes = shapes or {"rgb": (3, 4, 8, 8), "flow": (2, 4, 8, 8)}
    run = settings(**{"steps": 6, "validate_every_steps": 2, "batch_size": 4, "monitor": "loss", "optimiser": SGD,
                      **changes})  # fmt: skip
    ranges = (range(LABELLED), range(LABELLED, LABELLED + UNLABELLED))
    pools = [Pool(tuple(clips), size) for clips, size in zip(ranges, per_batch, strict=False)]
    fitted = fit(
        task,
        train=Clips(LABELLED + UNLABELLED, seed=0, **shapes),
        batch_sampler=BatchSampler(pools, steps=2, seed=5),
        val=Clips(val, seed=1, **shapes),
        settings=run,
        seed=5,
        work=work,
        tracker=NULL_TRACKER,
        device="cpu",
        read_losses_every=read_losses_every,
    )
    with (work / "curves.csv").open(newline="") as stream:
        curves = [(int(row["step"]), row["name"], float(row["value"])) for row in csv.DictReader(stream)]
    figures = {name: value for name, value in fitted.metrics.items() if name.startswith("val/")}
    weights = {name: value.clone() for name, value in task.network.state_dict().items()}
    return {"curves": curves, "weights": weights, "figures": figures, "kept_step": fitted.kept_step}


def classification(work: Path, **changes: Any) -> dict[str, Any]:
    return trained(Classification(small(), seen("rgb", 3)), work, **changes)


def distillation(work: Path) -> dict[str, Any]:
    """From labelled and unlabelled clips, four and two a batch; a projector learns, and a weight rises and falls."""
    student, taught_by = small(), small(2, seed=1, features=9)
    terms = [{"layer": "features"}, {"loss": "kl", "temperature": 2.0, "warmup_ratio": 0.5, "schedule": "cosine"}]
    task = Distillation(
        student, seen("rgb", 3), teachers=[Teacher(taught_by, seen("flow", 2))],
        settings=DistillSettings(kd_weight=3.0, terms=terms),
    )  # fmt: skip
    teacher = {name: value.clone() for name, value in task.teachers[0].network.state_dict().items()}
    found = trained(task, work, per_batch=(4, 2))
    assert all(torch.equal(value, teacher[name]) for name, value in task.teachers[0].network.state_dict().items())
    return found


def auxiliary(work: Path) -> dict[str, Any]:
    torch.manual_seed(0)
    student = create_model("s3d_g", num_classes=CLASSES, width=0.125, dropout=0.0, stem_spatial_stride=1)
    how = {**STEADY, "activation_checkpointing": True}
    task = AuxiliaryDecoding(student, seen("rgb", 3), stage="Mixed3b", decoder="simple", bound_px=20.0, **how)
    return trained(task, work, per_batch=(4, 2), optimiser=GENTLE)


def tsn(work: Path) -> dict[str, Any]:
    torch.manual_seed(0)
    network = create_model("tsn", num_classes=CLASSES, width=0.125, dropout=0.0, output_stride=8, segments=2)
    return trained(Classification(network, seen("rgb", 3), **STEADY), work, shapes={"rgb": (3, 2, 32, 32)})


def staged(work: Path) -> dict[str, Any]:
    """The last two stages and the classifier first, all from the fourth step on, in the middle of a round."""
    torch.manual_seed(0)
    network = create_model("tsn", num_classes=CLASSES, width=0.125, dropout=0.0, output_stride=8, segments=2)
    task = Classification(
        network, seen("rgb", 3), **STEADY, frozen="backbone", unfrozen_stages=2, unfreeze_after_steps=3
    )
    return trained(task, work, shapes={"rgb": (3, 2, 32, 32)})


def st_resnet(work: Path) -> dict[str, Any]:
    torch.manual_seed(0)
    network = create_model("st_resnet", num_classes=CLASSES, in_channels=7, width=0.125, output_stride=8)
    return trained(
        TwoStream(network, seen("rgb_flow", 7), **STEADY), work, shapes={"rgb_flow": (7, 3, 16, 16)}, optimiser=GENTLE
    )


def recurrent(work: Path, reduction: str) -> dict[str, Any]:
    torch.manual_seed(0)
    small_lstm = {"cells": 4, "hidden": 8, "head_width": 8, "layers": 1, "dropout": 0.0}
    network = create_model("alstm", num_classes=CLASSES, width=0.125, output_stride=8, **small_lstm)
    how = {"network": {"name": "alstm"}, "reduction": reduction, "attention_penalty": 1.0, "l2": 0.01}
    task = StepwiseClassification(network, seen("rgb", 3), RecurrentSettings(**how))
    return trained(task, work, shapes={"features": (4, 128, 2, 2)}, settings=RecurrentSettings, **how)


def not_finite_in_one_process(work: Path, read_losses_every: int | None = None) -> dict[str, Any]:
    """A loss that is NaN for one clip alone."""

    class Breaks(Classification):
        def loss(self, batch: Any) -> Any:
            losses = super().loss(batch)
            return {**losses, "loss": losses["loss"] * (float("nan") if processes.rank() else 1.0)}

    return trained(Breaks(small(), seen("rgb", 3)), work, read_losses_every=read_losses_every)


def masks(work: Path) -> dict[str, Any]:
    """Which features each process's dropout lets through in the first steps."""
    kept: list[torch.Tensor] = []
    network = small(dropout=0.5)
    network.drop.register_forward_hook(
        lambda layer, given, out: kept.append((out != 0).float()) if layer.training else None
    )
    trained(Classification(network, seen("rgb", 3)), work)
    every = processes.all_gather(torch.stack(kept).transpose(0, 1).contiguous(), 4)
    return {"masks": every}  # [4,S,F], the first two of the first process


def normalisation(work: Path) -> dict[str, Any]:
    """Outputs, gradients and running statistics of one layer, for parts far from 0 and unlike each other."""
    processes.init_process_group(torch.device("cpu"))
    torch.manual_seed(0)
    everything = torch.randn(6, 3, 2, 4, 4) * 2 + 100 + torch.arange(6.0).reshape(6, 1, 1, 1, 1)
    wanted, layer = torch.randn_like(everything), nn.BatchNorm3d(3, momentum=0.3)
    nn.init.normal_(layer.weight), nn.init.normal_(layer.bias)
    found: dict[str, Any] = {}
    mine = processes.shard_of(6)
    rows = slice(mine.start, mine.stop)
    for mode in ("training", "frozen"):
        x = everything[rows].clone().requires_grad_()
        layer.zero_grad()
        layer.train(mode == "training")
        if processes.world_size() > 1:
            with synchronised_norms(layer):
                y = layer(x)
        else:
            y = layer(x)
        (y * wanted[rows]).sum().backward()
        found |= {f"{mode} output": processes.all_gather(y.detach(), 6), f"{mode} dx": processes.all_gather(x.grad, 6)}
        for name, parameter in layer.named_parameters():
            found[f"{mode} d{name}"] = _summed(parameter.grad)
    return found | {name: value.clone() for name, value in layer.named_buffers()}


def _summed(gradient: torch.Tensor) -> torch.Tensor:
    total = gradient.clone()
    if processes.world_size() > 1:
        torch.distributed.all_reduce(total)
    return total


SCENARIOS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "normalisation": normalisation,
    "classification": classification,
    "adamw": lambda work: classification(work, optimiser={"name": "adamw", "learning_rate": 1e-3}),
    "in_parts": lambda work: classification(work, accumulate=2),
    "clipping": lambda work: classification(work, optimiser={**SGD, "clip_gradient_norm": 0.1}),
    "two_rounds_of_three": lambda work: classification(work, steps=4),
    "distillation": distillation,
    "auxiliary": auxiliary,
    "tsn": tsn,
    "staged": staged,
    "st_resnet": st_resnet,
    "recurrent_mean": lambda work: recurrent(work, "mean"),
    "recurrent_sum": lambda work: recurrent(work, "sum"),
    "one_clip_to_validate": lambda work: classification(work, val=1),
    "not_finite_in_one_process": not_finite_in_one_process,
    "not_finite_read_late": lambda work: not_finite_in_one_process(work, read_losses_every=32),
    "cannot_be_shared": lambda work: classification(work, per_batch=(4, 3)),
    "masks": masks,
}

if __name__ == "__main__":
    out = Path(sys.argv[1])
    torch.set_num_threads(1)
    for name, scenario in SCENARIOS.items():
        try:
            found = scenario(out / "work" / name)
        except KineflowError as error:
            found = {"error": str(error)}
        if processes.is_main_process():
            torch.save(found, out / f"{name}.pt")
