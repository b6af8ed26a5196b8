"""Settings that cannot be meant are refused before any work."""

import pytest

from kineflow.evaluation.settings import EvaluateSettings
from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError


def test_the_defaults_are_the_test_protocol():
    settings = EvaluateSettings()
    assert (settings.split, settings.clips_per_video, settings.fusion) == ("test", 4, ())


def test_a_fusion_may_name_weights_or_leave_them_to_val():
    values = {"fusion": [{"models": ["a", "b"]}, {"models": ["a", "c"], "weights": [0, 2]}]}
    values["fusion"].append({"models": ["b", "c"], "weights": "val", "average": "logits"})
    settings = parse_params(EvaluateSettings, values, where="evaluation")
    assert [fusion.weights for fusion in settings.fusion] == [None, (0, 2), "val"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"split": "unlabelled"}, "'unlabelled'"),
        ({"clips_per_video": 0}, "greater than or equal to 1"),
        ({"examples": 99}, "less than or equal to 24"),
        ({"fusions": []}, "unknown key; known keys:.*fusion"),
        ({"fusion": [{"models": ["a"]}]}, "at least 2 items"),
        ({"fusion": [{"models": ["a", "a"]}]}, "each be named once"),
        ({"fusion": [{"models": ["a", "b"], "weights": [1]}]}, "must be 2 numbers"),
        ({"fusion": [{"models": ["a", "b"], "weights": [0, 0]}]}, "at least one above 0"),
        ({"fusion": [{"models": ["a", "b"], "weights": [1, -1]}]}, "greater than or equal to 0"),
        ({"fusion": [{"models": ["a", "b"]}, {"models": ["a", "b"], "weights": "val"}]}, "twice"),
        ({"choose_among": ["a", "a"]}, "each model once"),
        ({"split": "val", "choose_among": ["a", "b"]}, "for the split test"),
        ({"split": "val", "fusion": [{"models": ["a", "b"], "weights": "val"}]}, "only where split is 'test'"),
    ],
)
def test_faults_are_named(values, message):
    with pytest.raises(KineflowError, match=message):
        parse_params(EvaluateSettings, values, where="evaluation")


def test_imported_scores_take_no_weights_of_val() -> None:
    values = {
        "imported": [{"name": "idt", "path": "idt.csv"}],
        "fusion": [{"models": ["rgb", "idt"], "weights": "val"}],
    }
    with pytest.raises(ValueError, match="none of val"):
        EvaluateSettings.model_validate(values)
    values["fusion"][0]["weights"] = [1, 1]
    assert EvaluateSettings.model_validate(values).imported[0].normalise == "none"
