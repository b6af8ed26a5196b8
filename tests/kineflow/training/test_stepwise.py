"""The loss of recurrent networks on features: its terms, their weights, and what gets a gradient."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from kineflow.models.frame_networks import FrameNetwork
from kineflow.models.registry import create_model
from kineflow.spec.preprocessing import Preprocessing
from kineflow.training.attention_losses import doubly_stochastic_penalty
from kineflow.training.recurrent_settings import RecurrentSettings
from kineflow.training.stepwise import StepwiseClassification

SEEN = Preprocessing("rgb", 4, 1, 16, 16, (0.0,) * 3, (1.0,) * 3)
LABELS = torch.tensor([0, 2])


def task(name: str = "alstm", settings: dict[str, object] | None = None, **network: object) -> StepwiseClassification:
    torch.manual_seed(0)
    in_channels = 5 if name == "videolstm" else 3
    common = {"width": 0.125, "output_stride": 8, "num_classes": 3, "in_channels": in_channels}
    built = create_model(name, **common, **network)
    assert isinstance(built, FrameNetwork)
    return StepwiseClassification(built, SEEN, RecurrentSettings(**(settings or {}))).eval()


def alstm(settings: dict[str, object] | None = None, **network: object) -> StepwiseClassification:
    return task("alstm", settings, **({"cells": 4, "hidden": 8, "head_width": 8, "layers": 1} | network))


def batch(channels: int = 128) -> dict[str, torch.Tensor]:
    return {"features": torch.rand(2, 4, channels, 2, 2), "label": LABELS}


def test_every_step_has_to_name_the_class() -> None:
    trained, given = alstm(), batch()
    losses = trained.loss(given)
    logits, attention = trained.network.sequence.forward_steps(given["features"])
    expected = sum(F.cross_entropy(logits[:, step], LABELS) for step in range(4))
    torch.testing.assert_close(losses["loss"], expected)
    torch.testing.assert_close(losses["cross_entropy"], expected)
    torch.testing.assert_close(losses["attention_penalty"], doubly_stochastic_penalty(attention))


@pytest.mark.parametrize(("settings", "cells"), [({}, 1), ({"penalty_cells": "mean"}, 4)])
def test_the_penalty_is_weighted(settings: dict[str, object], cells: int) -> None:
    given = batch()
    plain, penalised = (alstm({"attention_penalty": weight, **settings}).loss(given) for weight in (0, 10))
    torch.testing.assert_close(penalised["loss"], plain["loss"] + 10 * plain["attention_penalty"])
    torch.testing.assert_close(penalised["attention_penalty"] * cells, alstm().loss(given)["attention_penalty"])


def test_sums_over_the_batch() -> None:
    given = batch()
    mean, total = (alstm({"reduction": reduction}).loss(given) for reduction in ("mean", "sum"))
    for name in ("loss", "attention_penalty"):
        torch.testing.assert_close(total[name], 2 * mean[name])


def test_the_norm_is_that_of_what_is_trained() -> None:
    given = batch()
    plain, decayed = (alstm({"l2": gamma}) for gamma in (0, 0.5))
    norm = sum(float((parameter.detach() ** 2).sum()) for parameter in decayed.network.sequence.parameters())
    difference = decayed.loss(given)["loss"] - plain.loss(given)["loss"]
    assert difference.item() == pytest.approx(0.5 * norm, rel=1e-4)


def test_classes_that_go_together() -> None:
    trained, given = alstm(multi_label=True), batch()
    logits, _ = trained.network.sequence.forward_steps(given["features"])
    targets = F.one_hot(LABELS, 3)[:, None].expand(2, 4, 3).float()
    expected = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / 2
    torch.testing.assert_close(trained.loss(given)["loss"], expected)


def test_networks_without_attention_have_no_penalty() -> None:
    assert task("cube_regression", cells=4).loss(batch()).keys() == {"loss", "cross_entropy"}
    assert alstm(attention="max").loss(batch()).keys() == {"loss", "cross_entropy"}


def test_two_inputs_by_their_names() -> None:
    trained = task("videolstm", grid=2, hidden=4, head_width=8)
    channels = trained.network.sequence.inputs["appearance"]
    given = {name: torch.rand(2, 4, channels, 2, 2) for name in ("motion", "appearance")}
    assert torch.isfinite(trained.loss({**given, "label": LABELS})["loss"])
    expected = trained.network.sequence(given["appearance"], given["motion"])
    assert torch.equal(trained.logits({**given, "label": LABELS}), expected)


def test_gradients_stop_at_the_features() -> None:
    trained = alstm({"attention_penalty": 1.0, "l2": 1e-5})
    trained.loss(batch())["loss"].backward()
    network = trained.network
    assert all(parameter.grad is not None for parameter in network.sequence.parameters())
    assert all(parameter.grad is None for parameter in network.appearance.parameters())


def test_what_is_trained_is_saved_once() -> None:
    names = alstm().state_dict()
    assert all(name.startswith("network.") for name in names)
