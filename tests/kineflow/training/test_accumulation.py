"""A batch in parts: what is learnt is what the whole batch teaches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from kineflow.models.registry import create_model
from kineflow.spec.preprocessing import Preprocessing
from kineflow.training.distillation import Distillation, Teacher
from kineflow.training.recurrent_settings import RecurrentSettings
from kineflow.training.settings import DistillSettings, RunSettings
from kineflow.training.stepwise import StepwiseClassification
from kineflow.training.tasks import Classification
from kineflow.training.trainer import Trainer

CPU = torch.device("cpu")
# Four labelled clips and two without a label; then the same in two parts.
WHOLE, PARTS = [[0, 1, 2, 3, 4, 5]], [[0, 1, 4], [2, 3, 5]]


def classification(network: Callable[..., Any], rgb: Preprocessing, _flow: Preprocessing) -> Classification:
    return Classification(network(dropout=0.0), rgb, label_smoothing=0.1)


def distillation(network: Callable[..., Any], rgb: Preprocessing, flow: Preprocessing) -> Classification:
    teacher = network(channels=2, seed=1)
    return Distillation(network(dropout=0.0), rgb, teachers=[Teacher(teacher, flow)], settings=DistillSettings())


def summed_over_clips(network: Callable[..., Any], rgb: Preprocessing, _flow: Preprocessing) -> Classification:
    torch.manual_seed(0)
    sizes = {"cells": 4, "hidden": 8, "head_width": 8, "layers": 1, "dropout": 0.0}
    alstm: Any = create_model("alstm", num_classes=3, width=0.125, output_stride=8, **sizes)
    how = RecurrentSettings(network={"name": "alstm"}, reduction="sum", attention_penalty=1.0, l2=0.01)
    return StepwiseClassification(alstm, rgb, how)


def batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(2)
    clips = {name: torch.randint(256, (6, n, 4, 8, 8), dtype=torch.uint8) for name, n in (("rgb", 3), ("flow", 2))}
    return {**clips, "features": torch.randn(6, 4, 128, 2, 2), "label": torch.tensor([0, 1, 2, 1, -1, -1])}


@pytest.mark.parametrize("build", [classification, distillation, summed_over_clips])
def test_loss_and_gradient_are_those_of_the_whole_batch(build, tiny_network, rgb, flow):
    ends = []
    for parts in (WHOLE, PARTS):
        task = build(tiny_network, rgb, flow)
        given = batch() if build is not summed_over_clips else {**batch(), "label": torch.tensor([0, 1, 2, 1, 0, 2])}
        settings = RunSettings(
            steps=2, validate_every_steps=2, batch_size=4, accumulate=len(parts),
            optimiser={"name": "sgd", "learning_rate": 0.1, "clip_gradient_norm": 0.5},
        )  # fmt: skip
        trainer = Trainer(task, settings, seed=3, device=CPU)
        task.network.eval()  # batch normalisation sees a part alone: the equality is without it
        for _ in range(2):
            for rows in parts:
                trainer.step({name: values[rows] for name, values in given.items()})
        assert trainer.steps_done == 2
        gradients = {name: p.grad for name, p in task.network.named_parameters() if p.grad is not None}
        ends.append((trainer.take_losses(), gradients, dict(task.network.named_parameters())))
    (losses, gradients, weights), (losses_of_parts, gradients_of_parts, weights_of_parts) = ends
    assert len(losses) == len(losses_of_parts) == 2
    for whole, in_parts in zip(losses, losses_of_parts, strict=True):
        assert in_parts == pytest.approx(whole, rel=1e-6)
    torch.testing.assert_close(gradients_of_parts, gradients, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(weights_of_parts, weights, rtol=1e-5, atol=1e-6)
