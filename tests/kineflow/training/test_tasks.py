import dataclasses

import pytest
import torch
import torch.nn.functional as F

from kineflow.storage.errors import KineflowError
from kineflow.training.distillation import Distillation, Teacher
from kineflow.training.settings import DistillSettings
from kineflow.training.tasks import Classification


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    """Five clips of 4×8×8 in both modalities, the last two without a label."""
    random = torch.Generator().manual_seed(0)
    return {
        "rgb": torch.randint(256, (5, 3, 4, 8, 8), generator=random, dtype=torch.uint8),
        "flow": torch.randint(256, (5, 2, 4, 8, 8), generator=random, dtype=torch.uint8),
        "label": torch.tensor([0, 2, 1, -1, -1]),
    }


def rows(batch: dict, *indices: int) -> dict:
    return {name: values[list(indices)] for name, values in batch.items()}


def distillation(tiny_network, rgb, flow, *, label_smoothing: float = 0.0, **settings) -> Distillation:
    return Distillation(
        tiny_network(dropout=0.0),
        rgb,
        teachers=[Teacher(tiny_network(channels=2, dropout=0.5, seed=1), flow)],
        settings=DistillSettings(**settings),
        label_smoothing=label_smoothing,
    )


def normalised(task, batch) -> tuple[torch.Tensor, torch.Tensor]:
    """The inputs of student and teacher."""
    return (batch["rgb"].float() - 128) / 64, (batch["flow"].float() - 128) / 32


class TestClassification:
    def test_inputs_are_of_the_networks_modality_and_normalised(self, tiny_network, rgb, flow, batch):
        for preprocessing, std in ((rgb, 64), (flow, 32)):
            inputs = Classification(tiny_network(), preprocessing).inputs(batch)
            torch.testing.assert_close(inputs, (batch[preprocessing.modality].float() - 128) / std)

    def test_inputs_are_in_the_network_s_channel_order(self, tiny_network, rgb, batch):
        caffe = dataclasses.replace(rgb, mean=(104.0, 117.0, 123.0), std=(1.0,) * 3, channel_order="bgr")
        inputs = Classification(tiny_network(), caffe).inputs(batch)
        torch.testing.assert_close(inputs[:, 0], batch["rgb"][:, 2].float() - 104)
        torch.testing.assert_close(inputs[:, 2], batch["rgb"][:, 0].float() - 123)

    def test_cross_entropy_is_over_labelled_rows_only(self, tiny_network, rgb, batch):
        task = Classification(tiny_network(), rgb)
        logits = task.network(task.inputs(batch))
        losses = task.loss(batch)
        torch.testing.assert_close(losses["loss"], F.cross_entropy(logits[:3], batch["label"][:3]))
        torch.testing.assert_close(losses["cross_entropy"], losses["loss"])
        assert not losses["cross_entropy"].requires_grad

    def test_a_loss_of_ones_own(self, tiny_network, rgb, batch, monkeypatch):
        losses = {
            "mine.mean": lambda logits, labels, *, times: times * logits.mean(),
            "mine.rows": lambda x, y: x[:, 0],
        }
        monkeypatch.setattr("kineflow.training.tasks.find_loss", losses.__getitem__)
        task = Classification(tiny_network(), rgb, loss="mine.mean", loss_options={"times": 3.0})
        terms = task.loss(batch)
        logits = task.network(task.inputs(batch))[batch["label"] >= 0]
        torch.testing.assert_close(terms["loss"], 3 * logits.mean())
        assert set(terms) == {"loss", "label_loss"}
        with pytest.raises(KineflowError, match=r"'mine.rows' gave a tensor \[3\], not a number"):
            Classification(tiny_network(), rgb, loss="mine.rows").loss(batch)

    def test_label_smoothing(self, tiny_network, rgb, batch):
        task = Classification(tiny_network(), rgb, label_smoothing=0.3)
        logits = task.network(task.inputs(batch))
        expected = F.cross_entropy(logits[:3], batch["label"][:3], label_smoothing=0.3)
        torch.testing.assert_close(task.loss(batch)["loss"], expected)

    def test_without_labels_the_loss_is_zero_and_gradients_are_finite(self, tiny_network, rgb, batch):
        task = Classification(tiny_network(), rgb)
        loss = task.loss(rows(batch, 3, 4))["loss"]
        loss.backward()
        assert loss.item() == 0
        assert all((parameter.grad == 0).all() for parameter in task.network.parameters())


class TestDistillation:
    @pytest.mark.parametrize(("ce_weight", "kd_weight"), [(1.0, 1.0), (0.5, 3.0), (0.0, 1.0)])
    def test_the_loss_is_cross_entropy_and_mean_squared_error_of_logits(
        self, tiny_network, rgb, flow, batch, ce_weight, kd_weight
    ):
        task = distillation(tiny_network, rgb, flow, kd_weight=kd_weight, ce_weight=ce_weight)
        seen, taught = normalised(task, batch)
        student, teacher = task.network(seen), task.teachers[0].network(taught)
        cross_entropy = F.cross_entropy(student[:3], batch["label"][:3])
        distance = ((student - teacher) ** 2).mean()  # over all five clips: a teacher needs no label
        losses = task.loss(batch)
        torch.testing.assert_close(losses["cross_entropy"], cross_entropy)
        torch.testing.assert_close(losses["distillation"], distance)
        torch.testing.assert_close(losses["loss"], ce_weight * cross_entropy + kd_weight * distance)

    def test_features_are_pooled_and_the_cross_entropy_stays(self, tiny_network, rgb, flow, batch):
        task = distillation(tiny_network, rgb, flow, layer="features", kd_weight=50)
        seen, taught = normalised(task, batch)
        student, teacher = (
            network.forward_features(clips).mean(dim=(2, 3, 4))
            for network, clips in ((task.network, seen), (task.teachers[0].network, taught))
        )
        losses = task.loss(batch)
        torch.testing.assert_close(losses["distillation"], F.mse_loss(student, teacher))
        torch.testing.assert_close(losses["cross_entropy"], F.cross_entropy(task.network(seen)[:3], batch["label"][:3]))

    def test_features_do_not_pull_at_the_classifier(self, tiny_network, rgb, flow, batch):
        task = distillation(tiny_network, rgb, flow, layer="features", ce_weight=0)
        task.loss(batch)["loss"].backward()
        assert not task.network.classifier.weight.grad.any()
        assert task.network.conv.weight.grad.any()

    def test_without_weight_it_is_plain_classification(self, tiny_network, rgb, flow, batch):
        task = distillation(tiny_network, rgb, flow, kd_weight=0, label_smoothing=0.1)
        plain = Classification(tiny_network(dropout=0.0), rgb, label_smoothing=0.1)
        for each in (task, plain):
            each.train()
            each.loss(batch)["loss"].backward()
        for (name, mine), theirs in zip(task.network.named_parameters(), plain.network.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, theirs.grad, msg=name)

    def test_unlabelled_clips_alone_teach_through_the_teacher(self, tiny_network, rgb, flow, batch):
        task = distillation(tiny_network, rgb, flow)
        losses = task.loss(rows(batch, 3, 4))
        losses["loss"].backward()
        assert losses["cross_entropy"].item() == 0
        assert losses["distillation"].item() > 0
        assert task.network.conv.weight.grad.any()
        assert all(parameter.grad.isfinite().all() for parameter in task.network.parameters())

    def test_gradients_reach_the_student_and_never_the_teacher(self, tiny_network, rgb, flow, batch):
        task = distillation(tiny_network, rgb, flow)
        task.train()
        task.loss(batch)["loss"].backward()
        assert all(parameter.grad is not None for parameter in task.network.parameters())
        assert all(p.grad is None and not p.requires_grad for p in task.teachers[0].network.parameters())

    def test_the_teacher_stays_in_evaluation_mode(self, tiny_network, rgb, flow, batch):
        task = distillation(tiny_network, rgb, flow)
        before = {name: value.clone() for name, value in task.teachers[0].network.state_dict().items()}
        assert task.train() is task
        assert all(module.training for module in task.network.modules())
        assert not any(module.training for module in task.teachers[0].network.modules())
        first, second = (task.loss(batch)["distillation"] for _ in range(2))  # dropout would tell them apart
        torch.testing.assert_close(first, second)
        assert all(torch.equal(value, before[name]) for name, value in task.teachers[0].network.state_dict().items())
        assert not any(module.training for module in task.eval().modules())

    def test_an_rgb_teacher_may_instruct_a_flow_student(self, tiny_network, rgb, flow, batch):
        task = Distillation(
            tiny_network(channels=2),
            flow,
            teachers=[Teacher(tiny_network(), rgb)],
            settings=DistillSettings(direction="rgb_to_flow"),
        )
        seen, taught = normalised(task, batch)
        expected = F.mse_loss(task.network(taught), task.teachers[0].network(seen))
        torch.testing.assert_close(task.loss(batch)["distillation"], expected)
