import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from kineflow.models.registry import create_model
from kineflow.training.optimisers import build_optimiser, build_schedule, rate_factor
from kineflow.training.settings import OptimiserSettings

schedules = st.sampled_from(["cosine", "steps", "constant"])


def factors(steps: int, **settings) -> list[float]:
    factor = rate_factor(OptimiserSettings(**settings), steps)
    return [factor(step) for step in range(steps)]


@given(st.integers(1, 200), schedules, st.floats(0, 0.99))
def test_rates_are_shares_of_the_peak(steps, schedule, warmup_ratio):
    rates = factors(steps, schedule=schedule, warmup_ratio=warmup_ratio)
    assert all(0 < rate <= 1 for rate in rates)


@given(st.integers(10, 200), schedules)
def test_warmup_rises_linearly_to_the_peak_and_nothing_rises_after_it(steps, schedule):
    rates = factors(steps, schedule=schedule, warmup_ratio=0.3, milestones=(0.6, 0.85))
    warmup = round(0.3 * steps)
    rises = [later - earlier for earlier, later in pairwise(rates[: warmup + 1])]
    assert rises == pytest.approx([1 / (warmup + 1)] * warmup)
    assert rates[warmup] == 1
    assert all(later <= earlier for earlier, later in pairwise(rates[warmup:]))


def test_cosine_is_half_way_down_in_the_middle_and_ends_at_zero():
    rates = factors(1000, schedule="cosine", warmup_ratio=0)
    assert rates[500] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0, abs=1e-5)


def test_steps_divide_by_ten_at_each_milestone():
    rates = factors(100, schedule="steps", milestones=(0.5, 0.8), warmup_ratio=0)
    assert (rates[49], rates[50], rates[79], rates[80]) == pytest.approx((1, 0.1, 0.1, 0.01))


def test_constant_stays_at_the_peak():
    assert factors(20, schedule="constant", warmup_ratio=0) == [1] * 20


def network() -> nn.Module:
    return nn.Sequential(nn.Conv3d(1, 2, 1), nn.BatchNorm3d(2), nn.Flatten(), nn.Linear(2, 2))


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_only_weights_decay(name):
    layers = network()
    optimiser = build_optimiser(layers, OptimiserSettings(name=name, weight_decay=0.1))
    decay = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    for key, parameter in layers.named_parameters():
        assert decay[id(parameter)] == (0.1 if key in ("0.weight", "3.weight") else 0.0), key


def test_frozen_parameters_are_left_out():
    layers = network()
    layers[0].requires_grad_(False)
    optimiser = build_optimiser(layers, OptimiserSettings())
    held = {id(p) for group in optimiser.param_groups for p in group["params"]}
    assert held == {id(p) for p in (*layers[1].parameters(), *layers[3].parameters())}


def test_sgd_has_momentum():
    optimiser = build_optimiser(network(), OptimiserSettings(name="sgd", momentum=0.8))
    assert isinstance(optimiser, torch.optim.SGD)
    assert {group["momentum"] for group in optimiser.param_groups} == {0.8}


def test_schedule_sets_the_rate_of_every_group():
    settings = OptimiserSettings(learning_rate=0.4, schedule="cosine", warmup_ratio=0)
    optimiser = build_optimiser(network(), settings)
    schedule = build_schedule(optimiser, settings, steps=4)
    for step in range(4):
        expected = 0.4 * 0.5 * (1 + math.cos(math.pi * step / 4))
        assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([expected] * 2)
        optimiser.step()
        schedule.step()


class TestRates:
    """TSN's flow stream: the stem's weight learns 5 times as fast, its bias 10 times, other biases twice."""

    def groups(self, **settings) -> dict[str, tuple[float, float]]:
        network = create_model("tsn", num_classes=3, width=0.125)
        chosen = OptimiserSettings(name="sgd", learning_rate=0.001, weight_decay=5e-4, **settings)
        optimiser = build_optimiser(network, chosen)
        names = {id(parameter): name for name, parameter in network.named_parameters()}
        found = {
            names[id(p)]: (group["lr"], group["weight_decay"])
            for group in optimiser.param_groups
            for p in group["params"]
        }
        assert found.keys() == set(names.values())
        assert sum(len(group["params"]) for group in optimiser.param_groups) == len(names)
        assert optimiser.param_groups[0]["lr"] == 0.001  # what is shown as the learning rate
        return {name.removeprefix("backbone."): value for name, value in found.items()}

    def test_each_parameter_has_its_own(self):
        rates = self.groups(bias_lr_mult=2.0, stem_lr_mult=5.0)
        assert rates["conv1_7x7_s2.weight"] == (pytest.approx(0.005), 5e-4)
        assert rates["conv1_7x7_s2.bias"] == (pytest.approx(0.010), 0)
        assert rates["conv2_3x3.weight"] == (pytest.approx(0.001), 5e-4)
        assert rates["conv2_3x3.bias"] == rates["last_linear.bias"] == (pytest.approx(0.002), 0)
        assert rates["last_linear.weight"] == (pytest.approx(0.001), 5e-4)
        for norm in ("conv1_7x7_s2_bn", "conv2_3x3_bn"):
            assert rates[f"{norm}.weight"] == rates[f"{norm}.bias"] == (pytest.approx(0.001), 0)

    def test_all_are_alike_by_default(self):
        assert {rate for rate, _ in self.groups().values()} == {0.001}

    def test_a_schedule_keeps_the_ratios(self):
        network = create_model("tsn", num_classes=3, width=0.125)
        settings = OptimiserSettings(
            name="sgd", learning_rate=0.001, schedule="steps", milestones=(0.4444, 0.8888), warmup_ratio=0,
            bias_lr_mult=2, stem_lr_mult=5,
        )  # fmt: skip
        factor = rate_factor(settings, 4500)
        assert [factor(step) for step in (1999, 2000, 3999, 4000)] == pytest.approx([1, 0.1, 0.1, 0.01])
        optimiser = build_optimiser(network, settings)
        schedule = build_schedule(optimiser, settings, steps=2)
        optimiser.step()
        schedule.step()
        ratios = {round(group["lr"] / optimiser.param_groups[0]["lr"], 6) for group in optimiser.param_groups}
        assert ratios == {1, 2, 5, 10}


@pytest.mark.parametrize(
    ("settings", "kind", "expected"),
    [
        ({"name": "adam"}, torch.optim.Adam, {"betas": (0.9, 0.999)}),
        ({"name": "rmsprop", "alpha": 0.8, "eps": 1e-4}, torch.optim.RMSprop, {"alpha": 0.8, "eps": 1e-4}),
        ({"name": "sgd", "momentum": 0.5}, torch.optim.SGD, {"momentum": 0.5, "nesterov": False}),
        ({"name": "adamw"}, torch.optim.AdamW, {}),
    ],
)
def test_every_optimiser_is_what_it_is_called(settings, kind, expected):
    optimiser = build_optimiser(nn.Linear(2, 2), OptimiserSettings(learning_rate=0.01, **settings))
    assert type(optimiser) is kind
    assert {key: optimiser.defaults[key] for key in expected} == expected
    assert optimiser.param_groups[0]["lr"] == 0.01
