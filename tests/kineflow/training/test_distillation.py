"""Several teachers, losses and layers: each by its equation."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from kineflow.models.registry import create_model
from kineflow.models.stages import features_at
from kineflow.spec.preprocessing import Preprocessing
from kineflow.training.distances import distance
from kineflow.training.distillation import Distillation, Teacher
from kineflow.training.settings import DistillSettings, RunSettings
from kineflow.training.trainer import Trainer


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class TestDistances:
    def test_mean_squared_error(self):
        student, teacher = drawn(5, 4, 2, 3, 3), drawn(5, 4, 2, 3, 3, seed=1)
        expected = sum(float(x) ** 2 for x in (student - teacher).flatten()) / student.numel()
        assert distance(student, teacher, "mse").item() == pytest.approx(expected)

    @pytest.mark.parametrize("temperature", [1.0, 4.0])
    def test_divergence_of_softened_probabilities(self, temperature):
        student, teacher = drawn(5, 4), 3 * drawn(5, 4, seed=1)
        expected = 0.0
        for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
            p, q = ([math.exp(x / temperature) for x in logits] for logits in (t, s))
            p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
            expected += temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) / 5
        assert distance(student, teacher, "kl", temperature=temperature).item() == pytest.approx(expected, rel=1e-5)

    def test_cosine_is_over_channels_of_each_place(self):
        student, teacher = drawn(2, 4, 2, 3, 3), drawn(2, 4, 2, 3, 3, seed=1)
        s, t = (x.movedim(1, -1).reshape(-1, 4) for x in (student, teacher))
        expected = (1 - (s * t).sum(1) / (s.norm(dim=1) * t.norm(dim=1))).mean()
        torch.testing.assert_close(distance(student, teacher, "cosine"), expected)

    @pytest.mark.parametrize("name", ["mse", "kl", "cosine"])
    def test_there_is_none_between_equals(self, name):
        assert distance(drawn(5, 4), drawn(5, 4), name, temperature=2.0).item() == pytest.approx(0, abs=1e-6)


def batch() -> dict[str, torch.Tensor]:
    """Three clips as the student and a flow teacher see them, and as a teacher with frames of its own does."""
    random = torch.Generator().manual_seed(0)

    def pixels(*shape: int) -> torch.Tensor:
        return torch.randint(256, shape, generator=random, dtype=torch.uint8)

    return {
        "rgb": pixels(3, 3, 8, 16, 16),
        "flow": pixels(3, 2, 8, 16, 16),
        "large": pixels(3, 3, 8, 32, 32),
        "label": torch.tensor([0, 2, -1]),
    }


def seen(modality: str, size: int = 16) -> Preprocessing:
    channels = 2 if modality == "flow" else 3
    return Preprocessing(modality, 8, 1, size, size, mean=(128.0,) * channels, std=(64.0,) * channels)


def s3d(*, channels: int = 3, width: float = 0.125, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return create_model(
        "s3d", num_classes=3, in_channels=channels, width=width, dropout=0.0, stem_temporal_stride=1,
        stem_spatial_stride=1, last_stage="Mixed3c",
    ).eval()  # fmt: skip


def taught_by_two(**settings) -> Distillation:
    teachers = [
        Teacher(s3d(channels=2, seed=1), seen("flow"), "flow"),
        Teacher(s3d(width=0.25, seed=2), seen("rgb", 32), "large", key="large"),
    ]
    torch.manual_seed(7)
    return Distillation(s3d(), seen("rgb"), teachers=teachers, settings=DistillSettings(**settings)).eval()


def inputs(name: str) -> torch.Tensor:
    return (batch()[name].float() - 128) / 64


def weighed(losses: dict[str, torch.Tensor], weights: list[float]) -> float:
    return sum(weight * losses[f"distillation_{n}"].item() for n, weight in enumerate(weights, 1))


class TestTerms:
    def test_each_teacher_by_its_own_loss_at_its_own_layer(self):
        task = taught_by_two(
            kd_weight=0.5,
            terms=[
                {"teacher": "flow", "weight": 2.0},
                {"teacher": "large", "loss": "kl", "temperature": 4.0},
                {"teacher": "flow", "loss": "cosine", "layer": "Mixed3b", "weight": 3.0},
            ],
        )
        losses = task.loss(batch())
        student, (flow, large) = task.network, (teacher.network for teacher in task.teachers)
        logits = student(inputs("rgb"))
        expected = [
            F.mse_loss(logits, flow(inputs("flow"))),
            distance(logits, large(inputs("large")), "kl", temperature=4.0),
            distance(
                features_at(student, inputs("rgb"), "Mixed3b"), features_at(flow, inputs("flow"), "Mixed3b"), "cosine"
            ),
        ]
        for number, term in enumerate(expected, 1):
            torch.testing.assert_close(losses[f"distillation_{number}"], term.detach())
        assert losses["distillation"].item() == pytest.approx(weighed(losses, [2, 1, 3]), rel=1e-5)
        assert losses["loss"].item() == pytest.approx(
            losses["cross_entropy"].item() + 0.5 * losses["distillation"].item(), rel=1e-5
        )

    def test_without_terms_all_teachers_say_their_logits(self):
        losses = taught_by_two().loss(batch())
        assert {name for name in losses if name.startswith("distillation_")} == {"distillation_1", "distillation_2"}
        assert losses["distillation"].item() == pytest.approx(weighed(losses, [1, 1]), rel=1e-5)

    @pytest.mark.parametrize(
        ("term", "of_student"),
        [
            ({"layer": "features"}, 64),
            ({"layer": "Mixed3b", "pooled": True}, 40),
            ({"layer": "features", "teacher_layer": "Mixed3c", "pooled": True}, 64),
            ({"layer": "Mixed3b", "teacher_layer": "Mixed3c"}, 40),
        ],
    )
    def test_a_projector_leads_to_a_teacher_of_another_width_and_learns(self, term, of_student):
        task = taught_by_two(terms=[{"teacher": "large", **term}], ce_weight=0.0)
        (project,) = (term.project for term in task.terms)
        assert project.weight.shape[1] == of_student
        network, large = task.network, task.teachers[1].network

        def at(net, clips, layer):
            if layer == "features":
                return net.forward_head(net.forward_features(clips), pre_logits=True)
            features = features_at(net, clips, layer)
            return features.mean(dim=(2, 3, 4)) if term.get("pooled") else features

        mine = project(at(network, inputs("rgb"), term["layer"]))
        theirs = at(large, inputs("large"), term.get("teacher_layer", term["layer"]))
        if theirs.ndim == 5:
            theirs = F.adaptive_avg_pool3d(theirs, mine.shape[2:])
        torch.testing.assert_close(task.loss(batch())["distillation"], F.mse_loss(mine, theirs).detach())

        trainer = Trainer(task, RunSettings(steps=4, validate_every_steps=4), seed=0, device=torch.device("cpu"))
        before = project.weight.detach().clone()
        trainer.step(batch())
        assert not torch.equal(project.weight, before)
        assert not any("project" in name for name in task.network.state_dict())

    def test_a_checkpoint_goes_on_as_if_undisturbed_and_holds_no_teacher(self):
        def trainer() -> Trainer:
            terms = [{"teacher": "large", "layer": "features", "schedule": "cosine"}, {"teacher": "flow"}]
            run = RunSettings(steps=4, validate_every_steps=4)
            return Trainer(taught_by_two(terms=terms), run, seed=0, device=torch.device("cpu"))

        undisturbed, again = trainer(), trainer()
        undisturbed.step(batch())
        state = copy.deepcopy(undisturbed.state_dict())
        again.load_state_dict(state)
        for each in (undisturbed, again):
            each.step(batch())
        assert again.take_losses()[-1] == undisturbed.take_losses()[-1]
        assert {name.partition(".")[0] for name in state["task"]} == {"network", "terms"}
        for mine, theirs in zip(again.task.parameters(), undisturbed.task.parameters(), strict=True):
            assert torch.equal(mine, theirs)

    def test_layers_of_one_width_have_no_projector(self):
        task = taught_by_two(terms=[{"teacher": "flow", "layer": layer} for layer in ("features", "Mixed3c")])
        assert not list(task.terms.parameters())

    @pytest.mark.parametrize(
        ("schedule", "shares"),
        [
            ({"warmup_ratio": 0.5}, [1 / 5, 2 / 5, 3 / 5, 4 / 5, 1, 1, 1, 1]),
            ({"schedule": "cosine"}, [(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]),
        ],
    )
    def test_weights_over_the_training(self, schedule, shares):
        task = taught_by_two(terms=[{"teacher": "flow", "weight": 3.0, **schedule}, {"teacher": "large"}])
        trainer = Trainer(task, RunSettings(steps=8, validate_every_steps=8), seed=0, device=torch.device("cpu"))
        for _ in shares:
            trainer.step(batch())
        for losses, share in zip(trainer.take_losses(), shares, strict=True):
            scheduled, constant = losses["distillation_1"], losses["distillation_2"]
            assert losses["distillation"] == pytest.approx(3 * share * scheduled + constant, rel=1e-5)
