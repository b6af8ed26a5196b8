"""Clips that are mixed, or seen in other colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from kineflow.storage.errors import KineflowError
from kineflow.training.augmentation import Augmentation, other_colours
from kineflow.training.distillation import Distillation, Teacher
from kineflow.training.settings import DistillSettings, TrainSettings
from kineflow.training.tasks import Batch, Classification
from kineflow.training.trainer import Trainer


def batch() -> Batch:
    torch.manual_seed(0)
    clips = {name: torch.randint(256, (6, n, 4, 8, 8), dtype=torch.uint8) for name, n in (("rgb", 3), ("flow", 2))}
    return {**clips, "label": torch.tensor([0, 1, 2, 1, -1, -1]), "labelled": torch.arange(4)}


def settings(**changes: float) -> TrainSettings:
    return TrainSettings(steps=4, validate_every_steps=4, frames=4, short_side=8, crop=8, **changes)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_all_modalities_are_mixed_with_the_same_clip_and_labels_by_the_same_share(tiny_network, rgb, kind):
    whole, task = batch(), Classification(tiny_network(dropout=0.0), rgb)
    mixed = Augmentation(task, settings(**{kind: 1.0}))(whole, np.random.default_rng(1))
    share, partner = float(mixed["share"]), torch.tensor([3, 0, 1, 2, 3, 4])
    assert 0.1 < share < 0.9
    for name in ("rgb", "flow"):
        clips, others = whole[name].float(), whole[name][partner].float()
        if kind == "mixup":
            torch.testing.assert_close(mixed[name], share * clips + (1 - share) * others)
            continue
        own = (mixed[name] == whole[name]).all(dim=1)  # [B,T,S,S]
        pasted = ~own.all(dim=(0, 1))
        assert torch.equal(mixed[name].float(), torch.where(pasted, others, clips))
        assert pasted.float().mean().item() == pytest.approx(1 - share)
    assert mixed["mixed_label"][:4].tolist() == [1, 0, 1, 2]
    logits = torch.randn(6, 3)
    expected = share * F.cross_entropy(logits[:4], whole["label"][:4])
    expected += (1 - share) * F.cross_entropy(logits[:4], mixed["mixed_label"][:4])
    torch.testing.assert_close(task.label_loss(logits, mixed), expected)


def test_colours_are_those_of_the_clip_and_flow_beside_them_stays():
    torch.manual_seed(0)
    clips = torch.randint(60, 120, (2, 5, 4, 8, 8), dtype=torch.uint8)
    same = other_colours(clips, torch.ones(2, 3))
    torch.testing.assert_close(same, clips.float())
    changed = other_colours(clips, torch.tensor([[1.5, 1.0, 1.0], [1.0, 1.0, 0.0]]))
    torch.testing.assert_close(changed[0, :3], clips[0, :3] * 1.5)
    assert changed[1, :3].std(dim=0).max() < 1e-3  # grey
    torch.testing.assert_close(changed[:, 3:], clips[:, 3:].float())
    flat = other_colours(clips, torch.tensor([[1.0, 0.0, 1.0]] * 2))[:, :3]
    assert flat.flatten(1).std(dim=1).max() < 1e-3


def test_a_step_draws_the_same_after_a_resume_and_the_teacher_sees_what_is_mixed(tiny_network, rgb, flow):
    how, ends = settings(mixup=0.4, cutmix=1.0, colour_jitter=0.4), []
    for resumed in (False, True):
        teacher = tiny_network(channels=2, seed=1)
        task = Distillation(tiny_network(), rgb, teachers=[Teacher(teacher, flow)], settings=DistillSettings())
        trainer = Trainer(task, how, seed=3, device=torch.device("cpu"))
        for step in range(3):
            if resumed and step == 1:
                state, trainer = trainer.state_dict(), Trainer(task, how, seed=3, device=torch.device("cpu"))
                trainer.load_state_dict(state)
            trainer.step(batch())
        ends.append((trainer.take_losses()[-2:], {name: p.clone() for name, p in task.network.named_parameters()}))
    assert ends[0][0] == ends[1][0]
    assert all(torch.equal(value, ends[1][1][name]) for name, value in ends[0][1].items())


def test_what_cannot_be_changed_is_refused(tiny_network, rgb, flow):
    with pytest.raises(KineflowError, match="clips of flow have no colours to vary"):
        Augmentation(Classification(tiny_network(channels=2), flow), settings(colour_jitter=0.4))

    class OfItsOwn(Classification):
        can_mix = False

    with pytest.raises(KineflowError, match="OfItsOwn cannot learn from mixed clips"):
        Augmentation(OfItsOwn(tiny_network(), rgb), settings(mixup=0.4))
