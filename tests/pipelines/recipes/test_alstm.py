"""The ALSTM recipe: its DAG, its parameter files, and what they say of the paper."""

from typing import Any

import pytest

from pipelines.dag.graph import Produced, Task, graph_of
from pipelines.dag.params import load_params, schema_of
from pipelines.dag.sources import ROOT

FILES = ("alstm.yaml", "alstm_ucf101.yaml")
MODELS = ("attention", "average", "max", "cube", "penalised")


@pytest.fixture(scope="module")
def tasks() -> dict[str, Task]:
    return {task.name: task for task in graph_of("alstm").tasks}


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


def test_tasks_and_their_steps(tasks: dict[str, Task]) -> None:
    assert {name: task.step for name, task in tasks.items()} == {
        "ingest": "ingest",
        "validate": "validate",
        "extract-flow": "extract_flow",
        "pretrain-tsn": "pretrain_tsn",
        "choose-backbone": "choose_backbone",
        "extract-features": "extract_features",
        **dict.fromkeys(MODELS, "train_recurrent"),
        "evaluate": "evaluate",
        "register": "register",
    }


@pytest.mark.parametrize("name", MODELS)
def test_every_model_reads_the_same_features(tasks: dict[str, Task], name: str) -> None:
    assert tasks[name].inputs == {
        "clips": Produced("ingest", "clips"),
        "features": Produced("extract-features", "features"),
        "backbone": Produced("choose-backbone", "backbone"),
    }
    assert tasks[name].sections["params"] == name
    assert tasks[name].constants["name"] == name


def test_the_stream_is_chosen_before_features_are_computed(tasks: dict[str, Task]) -> None:
    assert tasks["choose-backbone"].inputs == {
        stream: Produced("pretrain-tsn", stream) for stream in ("rgb", "difference", "flow")
    }
    assert tasks["extract-features"].inputs["backbone"] == Produced("choose-backbone", "backbone")
    assert tasks["extract-features"].inputs["flow"] == Produced("extract-flow", "flow")
    assert tasks["extract-flow"].after == ("validate",)
    assert tasks["evaluate"].inputs["flow"] == Produced("extract-flow", "flow")
    assert tasks["register"].inputs["model"] == Produced("attention", "model")


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
