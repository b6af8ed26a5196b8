"""The mean teacher by its equations."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from kineflow.training.semi_supervised.mean_teacher import MeanTeacher
from kineflow.training.semi_supervised.settings import MeanTeacherSettings
from kineflow.training.settings import TrainSettings
from kineflow.training.trainer import Trainer

OFF = {"colour_jitter": 0.0, "cutout": 0.0, "zoom": 0.0}
LABELS = torch.tensor([0, 2, -1, -1])


def batch(seed: int = 0) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {"rgb": torch.randint(256, (4, 3, 4, 8, 8), generator=random, dtype=torch.uint8), "label": LABELS}


def test_the_loss_is_the_cross_entropy_and_the_distance_from_what_the_teacher_says_of_clips_as_they_are(
    tiny_network, rgb
) -> None:
    task = MeanTeacher(tiny_network(dropout=0.0), rgb, settings=MeanTeacherSettings(weight=8.0, rise_ratio=0.5))
    task.train()
    task.teacher.load_state_dict(tiny_network(seed=1).state_dict())
    task.at_step(0, 100)
    torch.manual_seed(3)
    losses = task.loss(batch())
    torch.manual_seed(3)
    seen = task.perturb(batch()["rgb"])
    logits, says = task.network((seen - 128) / 64), tiny_network(seed=1)((batch()["rgb"].float() - 128) / 64)
    cross_entropy = F.cross_entropy(logits[:2], LABELS[:2])
    consistency = (logits.softmax(1) - says.softmax(1)).square().mean()
    torch.testing.assert_close(losses["consistency"], consistency.detach())
    torch.testing.assert_close(losses["loss"], cross_entropy + 8 * math.exp(-5) * consistency)
    torch.testing.assert_close(task.logits(batch()), says)  # the teacher is judged
    task.at_step(60, 100)
    assert task.weight.item() == 8


def test_the_teacher_is_the_average_of_the_steps_done_and_learns_by_nothing_else(tiny_network, rgb) -> None:
    settings = TrainSettings(steps=4, validate_every_steps=4, batch_size=2, frames=4)
    task = MeanTeacher(tiny_network(), rgb, settings=MeanTeacherSettings(decay=0.4, **OFF))
    trainer = Trainer(task, settings, seed=0, device=torch.device("cpu"))
    expected = {name: value.double() for name, value in task.network.state_dict().items()}
    for step in range(4):
        trainer.step(batch(step))
        decay = min(0.4, (2 + step) / (11 + step))
        for name, value in task.network.state_dict().items():
            mean = decay * expected[name] + (1 - decay) * value
            expected[name] = mean if value.is_floating_point() else value.clone()
    for name, value in task.teacher.state_dict().items():
        torch.testing.assert_close(value, expected[name].to(value.dtype), rtol=1e-5, atol=1e-6)
    assert not task.teacher.training
    assert not torch.equal(task.teacher.conv.weight, task.network.conv.weight)


def test_a_checkpoint_goes_on_as_if_nothing_had_been(tiny_network, rgb) -> None:
    settings = TrainSettings(steps=6, validate_every_steps=3, batch_size=2, frames=4)

    def trainer() -> Trainer:
        task = MeanTeacher(tiny_network(), rgb, settings=MeanTeacherSettings(weight=5.0))
        return Trainer(task, settings, seed=0, device=torch.device("cpu"))

    whole = trainer()
    for step in range(6):
        if step == 3:
            resumed = trainer()
            resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
        whole.step(batch(step))
    for step in range(3, 6):
        resumed.step(batch(step))
    for ours, theirs in zip(whole.task.state_dict().values(), resumed.task.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    assert whole.take_losses()[-1]["consistency"] > 0


@pytest.mark.parametrize("key", ["weight", "decay", "rise_ratio"])
def test_settings_have_bounds(key: str) -> None:
    with pytest.raises(ValueError, match=key):
        MeanTeacherSettings.model_validate({key: -1})
