import pytest

from components.extract_features import extract_features
from components.frontend.contract import (
    Artifact,
    Between,
    Shown,
    Signature,
    StepResult,
    load_step,
    module_of,
    step_names,
)
from components.train import train
from tests.components.frontend.brew import BrewSettings, brew


def test_kinds_of_arguments():
    signature = Signature.of(brew)
    assert signature.inputs == {
        "water": Artifact("Dataset", "input"),
        "milk": Artifact("Dataset", "input"),
        "leaves": Artifact("Model", "input"),
    }
    assert signature.optional == {"milk"}
    assert signature.lists == {"leaves": Between(1, 3)}
    assert signature.outputs == {"tea": Artifact("Artifact", "output")}
    assert signature.sections == {"params": BrewSettings}
    assert signature.values == {"name": str, "cups": int, "share": float, "hot": bool, "seed": int}
    assert signature.defaults["cups"] == 1
    assert "name" not in signature.defaults
    assert signature.shown == Shown(metrics=True, confusion=True)
    assert signature.takes_tracker


def test_only_steps_that_draw_take_a_seed():
    assert "seed" in Signature.of(train).values
    assert "seed" not in Signature.of(extract_features).values


def test_every_step_is_found_under_its_own_name_and_keeps_the_contract():
    """Each file of ``components/`` is a step: keyword-only, with something to write."""
    for name in step_names():
        step = load_step(f"components.{name}")
        assert (step.__name__, module_of(step)) == (name, f"components.{name}")
        assert step.__kwdefaults__ is not None or step.__code__.co_kwonlyargcount
        assert step.__code__.co_argcount == 0
        assert Signature.of(step).outputs


def test_figures_that_are_no_numbers_are_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    result = StepResult(metrics={"clips": 3, "map": float("nan"), "loss": float("inf")})
    assert result.metrics == {"clips": 3}
    assert "loss, map" in caplog.text
