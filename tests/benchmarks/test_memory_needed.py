"""The count of what a training step needs, without running it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from memory_model.counting import BATCHES, held_by
from memory_model.trainings import trainings

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_every_training_of_a_recipe_is_counted_and_what_is_kept_is_what_a_real_step_keeps() -> None:
    found = {each.name: each for each in trainings("d3d", ROOT / "params.yaml")}
    assert {"teacher", "plain", "distilled", "student"} <= found.keys()
    student = found["student"]
    counted = held_by(student.build, student.batch, student.settings, bf16=False)
    task, batch = student.build().train(), student.batch(student.settings.micro_batch_size)
    held = {tensor.untyped_storage().data_ptr() for tensor in (*task.parameters(), *task.buffers(), *batch.values())}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = task.loss(batch)["loss"]
    real = sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in held)
    assert loss.requires_grad
    assert counted.kept == pytest.approx(real, rel=0.02)
    learnt = sum(parameter.numel() for parameter in task.network.parameters())
    assert counted.weights >= 4 * 4 * learnt  # AdamW: weight, gradient, two moments
    assert counted.batches == BATCHES * sum(tensor.nbytes for tensor in batch.values())
