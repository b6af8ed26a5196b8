"""The ST-ResNet recipe: its DAG, its parameter files, and what they say of the paper."""

from typing import Any

import pytest

from kineflow.training import two_stream
from kineflow.training.two_stream import Phase
from pipelines.dag.graph import Produced, Task, graph_of
from pipelines.dag.params import load_params, schema_of
from pipelines.dag.sources import ROOT, source_files

FILES = ("st_resnet.yaml", "st_resnet_ucf101.yaml")
VIDEOS = 9537  # training split 1 of UCF101


@pytest.fixture(scope="module")
def tasks() -> dict[str, Task]:
    return {task.name: task for task in graph_of("st_resnet").tasks}


@pytest.fixture(scope="module")
def paper() -> dict[str, Any]:
    return load_params(graph_of("st_resnet"), ROOT / "params" / "st_resnet_ucf101.yaml")


@pytest.mark.parametrize("name", FILES)
def test_committed_parameter_files_are_valid(name: str) -> None:
    checked = load_params(graph_of("st_resnet"), ROOT / "params" / name)
    assert list(checked) == list(schema_of(graph_of("st_resnet")))
    network = checked["network"]
    assert (network["backbone"], network["segments"]) == ("resnet50", 1)
    assert checked["appearance"]["frames"] == 1
    assert checked["motion"]["frames"] == network["flow_frames"]
    # The third step changes the pool over time, and nothing else that weights depend on.
    assert {**checked["join_star"], "temporal_pool": False} == checked["join"]
    assert checked["join_star"]["temporal_pool"]
    for section in ("short_side", "crop"):
        assert len({checked[name][section] for name in ("appearance", "motion", "st_resnet", "st_resnet_star")}) == 1


def test_tasks_and_their_steps(tasks: dict[str, Task]) -> None:
    assert {name: task.step for name, task in tasks.items()} == {
        "ingest": "ingest",
        "validate": "validate",
        "extract-flow": "extract_flow",
        "pretrain-tsn": "pretrain_tsn",
        "appearance": "train",
        "motion": "train",
        "join": "pretrain_st_resnet",
        "st_resnet": "train",
        "join-star": "pretrain_st_resnet",
        "st_resnet_star": "train",
        "evaluate": "evaluate",
        "register": "register",
    }


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("appearance", {"clips": ("ingest", "clips"), "initial": ("pretrain-tsn", "rgb")}),
        (
            "motion",
            {"clips": ("ingest", "clips"), "flow": ("extract-flow", "flow"), "initial": ("pretrain-tsn", "flow")},
        ),
        ("join", {"appearance": ("appearance", "model"), "motion": ("motion", "model")}),
        (
            "st_resnet",
            {"clips": ("ingest", "clips"), "flow": ("extract-flow", "flow"), "initial": ("join", "initial")},
        ),
        ("join-star", {"before": ("st_resnet", "model")}),
        (
            "st_resnet_star",
            {"clips": ("ingest", "clips"), "flow": ("extract-flow", "flow"), "initial": ("join-star", "initial")},
        ),
        ("register", {"model": ("st_resnet_star", "model"), "evaluation": ("evaluate", "evaluation")}),
    ],
)
def test_training_has_the_paper_s_three_steps(
    tasks: dict[str, Task], name: str, inputs: dict[str, tuple[str, str]]
) -> None:
    assert dict(tasks[name].inputs) == {key: Produced(*source) for key, source in inputs.items()}
    if tasks[name].step == "train":
        assert tasks[name].constants["name"] == name
        assert tasks[name].sections["params"] == name


def test_all_four_networks_are_evaluated(tasks: dict[str, Task], paper: dict[str, Any]) -> None:
    read = {key: source.task for key, source in tasks["evaluate"].inputs.items()}
    assert [read[place] for place in ("first", "second", "third", "fourth")] == [
        "appearance",
        "motion",
        "st_resnet",
        "st_resnet_star",
    ]
    assert (read["clips"], read["flow"]) == ("ingest", "extract-flow")
    assert [fusion["models"] for fusion in paper["evaluation"]["fusion"]] == [["appearance", "motion"]]
    assert paper["evaluation"]["fusion"][0]["average"] == "logits"


def test_nothing_is_trained_before_validation_has_passed(tasks: dict[str, Task]) -> None:
    assert tasks["appearance"].after == tasks["extract-flow"].after == ("validate",)


@pytest.mark.parametrize(
    ("section", "phase"),
    [
        ("appearance", two_stream.APPEARANCE),
        ("motion", two_stream.MOTION),
        ("st_resnet", two_stream.ST_RESNET),
        ("st_resnet_star", two_stream.ST_RESNET_STAR),
    ],
)
def test_schedules_are_the_authors(paper: dict[str, Any], section: str, phase: Phase) -> None:
    settings, optimiser = paper[section], paper[section]["optimiser"]
    scale = settings["batch_size"] / phase.batch_size  # a smaller batch has a smaller rate, and more steps
    assert settings["steps"] * settings["batch_size"] / VIDEOS == pytest.approx(phase.looks, rel=0.005)
    assert optimiser["learning_rate"] == pytest.approx(phase.learning_rates[0] * scale)
    epochs = len(phase.learning_rates)
    assert [round(share * epochs, 2) for share in optimiser["milestones"]] == [
        epoch for epoch in range(1, epochs) if phase.learning_rates[epoch] < phase.learning_rates[epoch - 1]
    ]
    assert (optimiser["name"], optimiser["schedule"]) == ("sgd", "steps")
    assert (optimiser["momentum"], optimiser["weight_decay"]) == (phase.momentum, phase.weight_decay)
    assert optimiser["bias_rate"] == 2
    assert settings["crop"] == 224
    if phase.frames > 1:
        assert settings["frames"] == phase.frames
        assert (settings["stride_frames"], settings["stride_frames_max"]) == phase.strides_frames
        assert settings["batch_size"] >= phase.clips_per_norm
        assert (settings["test_frames"], settings["test_stride_frames"]) == (
            two_stream.TEST_FRAMES,
            two_stream.TEST_STRIDE_FRAMES,
        )
        assert (settings["short"], settings["short_side"]) == ("closer", two_stream.TEST_SHORT_SIDE_PX)


def test_the_networks_are_the_paper_s(paper: dict[str, Any]) -> None:
    network = paper["network"]
    assert (network["width"], network["output_stride"], network["flow_frames"]) == (1.0, 32, 10)
    assert (network["rgb_dropout"], network["flow_dropout"]) == (two_stream.APPEARANCE.dropout, 0.8)
    assert network["cross_modality"]
    assert paper["join"] == {
        "injection": "add",
        "direction": "motion_to_appearance",
        "temporal_init": "average",
        "temporal_pool": False,
        "freeze_norm": False,
        "dropout": 0.0,
    }
    assert paper["evaluation"]["crops"] == "whole"


def test_caches_know_the_networks() -> None:
    for step in ("pretrain_st_resnet", "train"):
        assert {"kineflow/models/st_resnet.py", "kineflow/models/resnet.py"} <= set(source_files(step))
