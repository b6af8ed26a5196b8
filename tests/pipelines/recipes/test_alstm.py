"""The ALSTM recipe: its parameter files, and what they say of the paper."""

from typing import Any

import pytest

from pipelines.dag.graph import graph_of
from pipelines.dag.params import load_params, schema_of
from pipelines.dag.sources import ROOT

FILES = ("alstm.yaml", "alstm_ucf101.yaml")


@pytest.fixture(scope="module")
def paper() -> dict[str, Any]:
    return load_params(graph_of("alstm"), ROOT / "params" / "alstm_ucf101.yaml")


@pytest.mark.parametrize("name", FILES)
def test_committed_parameter_files_are_valid(name: str) -> None:
    checked = load_params(graph_of("alstm"), ROOT / "params" / name)
    assert list(checked) == list(schema_of(graph_of("alstm")))
    assert checked["network"]["flow_frames"] == checked["network"]["difference_frames"] == 1
    assert checked["features"]["splits"] == ["train", "val"]
    sees_flow = checked["backbone"]["stream"] == "flow"
    assert checked["flow"]["splits"] == (["train", "val", "test"] if sees_flow else [])


@pytest.mark.parametrize("name", FILES)
def test_models_differ_in_what_they_are_named_for(name: str) -> None:
    checked = load_params(graph_of("alstm"), ROOT / "params" / name)
    attention = checked["attention"]
    for pooling in ("average", "max"):
        expected = {**attention, "network": {**attention["network"], "attention": pooling}}
        assert checked[pooling] == expected
    assert checked["penalised"] == {**attention, "attention_penalty": 10.0}
    assert checked["cube"] == {**attention, "network": {"name": "cube_regression"}}
    assert attention["attention_penalty"] == 0


def test_training_is_the_paper_s(paper: dict[str, Any]) -> None:
    attention = paper["attention"]
    assert attention["network"] == {
        "name": "alstm", "layers": 3, "hidden": 512, "head_width": 512, "attention": "location", "dropout": 0.5,
    }  # fmt: skip
    assert (attention["frames"], attention["stride_frames"], attention["batch_size"]) == (30, 1, 128)
    assert (attention["optimiser"]["name"], attention["optimiser"]["learning_rate"]) == ("adam", 2e-4)
    assert (attention["optimiser"]["schedule"], attention["optimiser"]["weight_decay"]) == ("constant", 0)
    assert (attention["l2"], attention["reduction"], attention["windows"]) == (1e-5, "sum", "every")
    assert (paper["evaluation"]["windows"], paper["evaluation"]["view_aggregation"]) == ("dense", "average")
    assert (paper["backbone"]["stream"], paper["backbone"]["fit"], paper["backbone"]["crop"]) == ("rgb", "squash", 224)
    assert paper["network"]["backbone"] == "googlenet"
