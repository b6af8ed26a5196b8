"""The TSN recipe: its parameter files, and what they say of the paper."""

from typing import Any

import pytest

from pipelines.dag.graph import graph_of
from pipelines.dag.params import load_params, schema_of
from pipelines.dag.sources import ROOT

FILES = ("tsn.yaml", "tsn_ucf101.yaml")


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
