import pytest

from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError
from kineflow.training.settings import DistillSettings, TrainSettings


def fault(kind, values) -> str:
    with pytest.raises(KineflowError) as caught:
        parse_params(kind, values, where="student")
    return str(caught.value)


def test_the_defaults_are_valid():
    assert parse_params(TrainSettings, TrainSettings().model_dump(mode="json"), where="student") == TrainSettings()
    assert parse_params(DistillSettings, {}, where="distillation").kd_weight == 1.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"steps": 10, "validate_every_steps": 4},
            "student: steps (10) must be a multiple of validate_every_steps (4)",
        ),
        (
            {"batch_size": 6, "nodes": 2, "devices": 2},
            "student: batch_size (6) counts the clips of all processes together, "
            "and must be a multiple of nodes × devices (2 × 2)",
        ),
        (
            {"batch_size": 6, "devices": 2, "accumulate": 2},
            "student: batch_size (6) is computed in accumulate (2) parts",
        ),
        ({"accumulate": 2, "compile": "graphs"}, "compile must be on or off where accumulate is above 1"),
        ({"steps": 10, "epochs": 2}, "give steps and validate_every_steps, or epochs and validate_every_epochs"),
        ({"steps": 10, "validate_every_steps": 5, "validate_every_epochs": 1}, "and not some of both"),
        ({"epochs": 3, "validate_every_epochs": 2}, "epochs (3) must be a multiple of validate_every_epochs (2)"),
        ({"steps": 0}, "steps and validate_every_steps must be at least 1"),
        ({"keep": "average", "refit": True}, "keep must be best, not average"),
        ({"keep": "last", "patience_rounds": 2}, "keep must be best, not last"),
        ({"keep": "average", "ema": 0.9}, "give one of them"),
        ({"devices": 0}, "student.devices: input should be greater than or equal to 1"),
        ({"short_side": 64, "crop": 65}, "crop must be at most short_side (64), not 65"),
        ({"optimiser": {"milestones": [0.5, 1.5]}}, "student.optimiser.milestones.1: input should be less than 1"),
        ({"optimiser": {"learning_rate": 0}}, "student.optimiser.learning_rate: input should be greater than 0"),
        ({"optimiser": {"name": "lion"}}, "'adamw', 'adam', 'sgd' or 'rmsprop'"),
        ({"monitor": "accuracy"}, "'auto', 'top1' or 'loss'"),
        ({"batchsize": 4}, "student.batchsize: unknown key"),
        ({"crop_scales": [1, 1.5]}, "student.crop_scales.1: input should be less than or equal to 1"),
        ({"crop_positions": 9}, "5, 13 or 'borders'"),
        ({"crop_positions": "borders"}, "crop_positions is for crop_scales or crop_range"),
        ({"crop_range": [1.25, 0.75]}, "crop_range must be a smaller share and a larger one"),
        ({"crop_range": [0.5, 1], "crop_scales": [1]}, "crop_range must be empty where crop_scales are given"),
        ({"compile": "max"}, "'off', 'on' or 'graphs'"),
        ({"stride_frames": 5, "stride_frames_max": 4}, "stride_frames_max must be 0 or at least stride_frames (5)"),
        ({"fit": "squash", "crop_scales": [1]}, "crop_scales must be empty where fit is squash"),
        ({"short": "mirror"}, "'repeat_last', 'wrap', 'closer' or 'error'"),
        ({"unfrozen_stages": 1}, "are for frozen: backbone"),
        ({"frozen": "backbone", "unfreeze_after_steps": 10_000}, "unfreeze_after_steps must be below steps (10000)"),
        ({"partial_norms": "all"}, "'off', 'statistics' or 'affine'"),
        ({"optimiser": {"stem_lr_mult": 0}}, "student.optimiser.stem_lr_mult: input should be greater than 0"),
    ],
)
def test_impossible_values(values, message):
    assert message in fault(TrainSettings, values)


def test_epochs_become_steps_when_the_clips_are_known():
    given = parse_params(TrainSettings, {"epochs": 6, "validate_every_epochs": 2, "batch_size": 16}, where="student")
    assert parse_params(TrainSettings, given.model_dump(mode="json"), where="student") == given
    counted = given.in_steps(33)
    assert (counted.steps, counted.validate_every_steps) == (18, 6)
    assert counted.in_steps(99) == counted
    thawing = given.model_copy(update={"frozen": "backbone", "unfreeze_after_steps": 18})
    with pytest.raises(KineflowError, match=r"6 epochs of 33 clips: unfreeze_after_steps must be below steps \(18\)"):
        thawing.in_steps(33)


def test_impossible_distillation():
    message = fault(DistillSettings, {"kd_weight": -1, "layer": "logit", "direction": "rgb_to_all"})
    assert all(f"student.{key}" in message for key in ("kd_weight", "layer", "direction"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layer": "Mixed3c", "terms": [{}]}, "layer is for a distillation without terms"),
        ({"terms": [{"loss": "kl", "layer": "features"}]}, "kl compares probabilities: give it layer logits"),
        ({"terms": [{"temperature": 2}]}, "temperature is for kl"),
        ({"terms": [{"threshold": 0.5}]}, "threshold is for pseudo_label"),
        ({"terms": [{"loss": "pseudo_label", "layer": "features"}]}, "pseudo_label compares probabilities"),
        ({"terms": [{"teacher_layer": "features"}]}, "logits are compared with logits"),
        ({"terms": [{"layer": "features", "pooled": True}]}, "features are a vector already"),
        ({"terms": [{"layer": "features", "teacher_layer": "Mixed3c"}]}, "a stage gives a map: set pooled to true"),
        ({"terms": [{}, {"layr": "logits"}]}, "student.terms.1.layr: unknown key; known keys: layer, loss, pooled"),
    ],
)
def test_impossible_terms(values, message):
    assert message in fault(DistillSettings, values)


def test_how_many_processes_is_no_part_of_what_decides_the_result():
    spread = TrainSettings(batch_size=8, nodes=2, devices=4)
    assert spread.processes == 8
    assert spread.wherever_it_runs() == TrainSettings(batch_size=8)
    assert spread.wherever_it_runs() != TrainSettings(batch_size=16)


@pytest.mark.parametrize(("given", "word"), [(True, "on"), (False, "off"), ("graphs", "graphs")])
def test_what_yaml_makes_of_on_and_off(given, word):
    settings = parse_params(TrainSettings, {"compile": given}, where="student")
    assert settings.compile == word
    assert settings.wherever_it_runs() == TrainSettings()
