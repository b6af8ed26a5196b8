"""The TSN recipe: its DAG, its parameter files, and what they say of the paper."""

from typing import Any

import pytest

from pipelines.dag.graph import Produced, Task, graph_of
from pipelines.dag.params import load_params, schema_of
from pipelines.dag.sources import ROOT

FILES = ("tsn.yaml", "tsn_ucf101.yaml")


@pytest.fixture(scope="module")
def tasks() -> dict[str, Task]:
    return {task.name: task for task in graph_of("tsn").tasks}


@pytest.fixture(scope="module")
def paper() -> dict[str, Any]:
    return load_params(graph_of("tsn"), ROOT / "params" / "tsn_ucf101.yaml")


@pytest.mark.parametrize("name", FILES)
def test_committed_parameter_files_are_valid(name: str) -> None:
    checked = load_params(graph_of("tsn"), ROOT / "params" / name)
    assert list(checked) == list(schema_of(graph_of("tsn")))
    assert checked["flow"] == {**checked["warped_flow"], "camera_motion": "kept"}
    assert checked["warped_flow"]["camera_motion"] == "removed"
    assert checked["network"]["flow_frames"] == checked["temporal"]["frames"]
    assert checked["network"]["difference_frames"] == checked["difference"]["frames"]
    assert checked["spatial"]["frames"] == 1


def test_tasks_and_their_steps(tasks: dict[str, Task]) -> None:
    assert {name: task.step for name, task in tasks.items()} == {
        "ingest": "ingest",
        "validate": "validate",
        "extract-flow": "extract_flow",
        "extract-warped-flow": "extract_flow",
        "pretrain-tsn": "pretrain_tsn",
        "rgb": "train",
        "difference": "train",
        "flow": "train",
        "warped": "train",
        "evaluate": "evaluate",
        "register": "register",
    }


@pytest.mark.parametrize(
    ("stream", "fields", "section"),
    [
        ("rgb", None, "spatial"),
        ("difference", None, "difference"),
        ("flow", "extract-flow", "temporal"),
        ("warped", "extract-warped-flow", "temporal"),
    ],
)
def test_each_stream_has_its_own_start_and_source(
    tasks: dict[str, Task], stream: str, fields: str | None, section: str
) -> None:
    inputs = dict(tasks[stream].inputs)
    assert inputs.pop("clips") == Produced("ingest", "clips")
    assert inputs.pop("initial") == Produced("pretrain-tsn", stream)
    assert inputs == ({"flow": Produced(fields, "flow")} if fields else {})
    assert tasks[stream].sections["params"] == section
    assert tasks[stream].constants["name"] == stream


def test_warped_flow_is_evaluated_as_such(tasks: dict[str, Task]) -> None:
    assert tasks["evaluate"].inputs["flow"] == Produced("extract-flow", "flow")
    assert tasks["evaluate"].inputs["warped"] == Produced("extract-warped-flow", "flow")
    assert tasks["register"].inputs["model"] == Produced("difference", "model")


def test_nothing_is_trained_before_validation_has_passed(tasks: dict[str, Task]) -> None:
    for name in ("extract-flow", "extract-warped-flow", "rgb", "difference"):
        assert tasks[name].after == ("validate",)


def test_streams_are_fused_by_the_paper_s_weights(paper: dict[str, Any]) -> None:
    fused = {tuple(fusion["models"]): fusion for fusion in paper["evaluation"]["fusion"]}
    assert fused["rgb", "flow"]["weights"] == [1, 1.5]
    assert fused["rgb", "flow", "warped"]["weights"] == [1, 1, 0.5]
    assert {fusion["average"] for fusion in fused.values()} == {"logits"}  # scores before the softmax
    assert (paper["evaluation"]["clips_per_video"], paper["evaluation"]["crops"]) == (25, 10)


def test_schedules_are_the_paper_s(paper: dict[str, Any]) -> None:
    for section, steps, rate, drops in (
        ("spatial", 4500, 0.001, [2000, 4000]),
        ("temporal", 20000, 0.005, [12000, 18000]),
    ):
        settings = paper[section]
        optimiser = settings["optimiser"]
        assert (settings["steps"], settings["batch_size"]) == (steps, 256)
        assert (optimiser["name"], optimiser["learning_rate"]) == ("sgd", rate)
        assert (optimiser["momentum"], optimiser["weight_decay"]) == (0.9, 5e-4)
        assert [round(share * steps, -1) for share in optimiser["milestones"]] == drops
        assert optimiser["bias_lr_mult"] == 2
        assert settings["partial_norms"] == "affine"
    assert paper["spatial"]["crop_scales"] == [1, 0.875, 0.75, 0.66]
    assert paper["temporal"]["crop_scales"] == [1, 0.875, 0.75]
    assert paper["temporal"]["optimiser"]["stem_lr_mult"] == 5
    assert paper["spatial"]["optimiser"]["stem_lr_mult"] == 1
    assert (paper["network"]["rgb_dropout"], paper["network"]["flow_dropout"]) == (0.8, 0.7)
