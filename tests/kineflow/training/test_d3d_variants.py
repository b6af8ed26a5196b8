from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kineflow.models.network import VideoNetwork
from kineflow.models.registry import create_model
from kineflow.models.stages import features_at
from kineflow.spec.quantise import quantise
from kineflow.training.d3d_variants import AuxiliaryDecoding, StudentWithDecoder
from kineflow.training.distillation import Distillation, Teacher
from kineflow.training.motion_probe import end_point_errors, flow_target
from kineflow.training.optimisers import parameter_groups
from kineflow.training.settings import DistillSettings, OptimiserSettings
from kineflow.training.tasks import Classification

BOUND_PX = 20.0


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """Five clips, the last two without a label."""
    rng = np.random.default_rng(0)
    return {
        "rgb": torch.from_numpy(rng.integers(0, 256, (5, 3, 4, 8, 8), dtype=np.uint8)),
        "flow": torch.from_numpy(quantise(rng.normal(0, 3, (5, 2, 4, 8, 8)), BOUND_PX)),
        "label": torch.tensor([0, 2, 1, -1, -1]),
    }


def student() -> VideoNetwork:
    torch.manual_seed(0)
    return create_model("s3d_g", num_classes=3, width=0.125, dropout=0.0, stem_spatial_stride=1).eval()


def auxiliary(rgb: Any, **keywords: Any) -> AuxiliaryDecoding:
    return AuxiliaryDecoding(
        student(), rgb, **{"stage": "Mixed3b", "decoder": "simple", "bound_px": BOUND_PX} | keywords
    )


def answering(task: AuxiliaryDecoding) -> AuxiliaryDecoding:
    """With a decoder that already says something: at first it answers 0, and holds its gradient back."""
    assert isinstance(task.network, StudentWithDecoder)
    with torch.no_grad():
        for parameter in task.network.decoder.parameters():
            parameter.normal_(std=0.1)
    return task


class TestSettings:
    def test_mars_is_fifty_times_the_mean_square_over_pooled_features(self, tiny_network, rgb, flow, batch) -> None:
        task = Distillation(
            tiny_network(dropout=0.0),
            rgb,
            teachers=[Teacher(tiny_network(channels=2, seed=1), flow)],
            settings=DistillSettings(layer="features", kd_weight=50),
        )
        seen, taught = (batch["rgb"].float() - 128) / 64, (batch["flow"].float() - 128) / 32
        pooled = [
            net.forward_features(clips).mean(dim=(2, 3, 4))
            for net, clips in ((task.network, seen), (task.teachers[0].network, taught))
        ]
        expected = (
            F.cross_entropy(task.network(seen)[:3], batch["label"][:3]) + 50 * ((pooled[0] - pooled[1]) ** 2).mean()
        )
        torch.testing.assert_close(task.loss(batch)["loss"], expected)

    def test_distil_only_hears_no_label(self, tiny_network, rgb, flow, batch) -> None:
        losses = []
        for labels in (batch["label"], torch.tensor([1, 1, 0, 2, 0])):
            task = Distillation(
                tiny_network(dropout=0.0),
                rgb,
                teachers=[Teacher(tiny_network(channels=2, seed=1), flow)],
                settings=DistillSettings(ce_weight=0),
            )
            losses.append(task.loss({**batch, "label": labels})["loss"])
        torch.testing.assert_close(*losses)


class TestAuxiliaryDecoding:
    def test_the_loss_is_cross_entropy_and_end_point_error(self, rgb, batch) -> None:
        task = answering(auxiliary(rgb, weight=0.3))
        assert isinstance(task.network, StudentWithDecoder)
        clips = task.inputs(batch)
        features = features_at(task.network.student, clips, "Mixed3b")
        target = flow_target(batch["flow"], features.shape[2:], bound_px=BOUND_PX)
        error = end_point_errors(task.network.decoder(features), target).mean()  # all five: flow needs no label
        cross_entropy = F.cross_entropy(task.network.student(clips)[:3], batch["label"][:3])
        losses = task.loss(batch)
        torch.testing.assert_close(losses["cross_entropy"], cross_entropy)
        torch.testing.assert_close(losses["end_point_error"], error)
        torch.testing.assert_close(losses["loss"], cross_entropy + 0.3 * error)

    def test_decoding_teaches_the_student_up_to_its_stage(self, rgb, batch) -> None:
        task = answering(auxiliary(rgb))
        assert isinstance(task.network, StudentWithDecoder)
        unlabelled = {name: values[3:] for name, values in batch.items()}
        task.train().loss(unlabelled)["loss"].backward()
        stages = task.network.student.features
        assert all(p.grad.any() for p in stages[5].parameters() if p.ndim > 1 and p.shape[1] > 8)
        assert stages[0][0][0].weight.grad.any()
        assert not any(p.grad.any() for stage in stages[6:] for p in stage.parameters())

    @pytest.mark.slow
    def test_without_weight_it_is_plain_classification(self, rgb, batch) -> None:
        task, plain = answering(auxiliary(rgb, weight=0.0)), Classification(student(), rgb)
        assert isinstance(task.network, StudentWithDecoder)
        for each in (task, plain):
            each.loss(batch)["loss"].backward()
        for mine, theirs in zip(task.network.student.parameters(), plain.network.parameters(), strict=True):
            assert theirs.grad.any()
            torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-3 * theirs.grad.abs().max().item(), rtol=1e-3)

    def test_it_classifies_as_the_student_alone(self, rgb, batch) -> None:
        task = answering(auxiliary(rgb))
        assert isinstance(task.network, StudentWithDecoder)
        with torch.no_grad():
            torch.testing.assert_close(task.network(task.inputs(batch)), student()(task.inputs(batch)))
            torch.testing.assert_close(task.network.both(task.inputs(batch))[0], student()(task.inputs(batch)))

    def test_student_and_decoder_are_both_optimised_and_the_stem_is_found(self, rgb) -> None:
        task = auxiliary(rgb)
        groups = parameter_groups(task.network, OptimiserSettings(stem_lr_mult=5, learning_rate=0.1))
        assert sum(len(group["params"]) for group in groups) == len(list(task.network.parameters()))
        assert any(p is task.network.stem.weight for g in groups if g["lr"] == 0.5 for p in g["params"])

    def test_a_new_classifier(self) -> None:
        network = StudentWithDecoder(student(), torch.nn.Identity(), stage="Mixed3b")
        network.reset_classifier(7)
        assert network.num_classes == network.student.num_classes == 7
        assert network.get_submodule(network.classifier_name).out_channels == 7
