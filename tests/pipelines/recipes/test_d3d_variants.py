"""The recipe of D3D's variants: its DAG, its parameter files, and what they say of the paper."""

from __future__ import annotations

from typing import Any

import pytest

from kineflow.training.settings import DistillSettings
from pipelines.dag.graph import Produced, Task, graph_of
from pipelines.dag.params import load_params, schema_of
from pipelines.dag.sources import ROOT

FILES = ("d3d_variants.yaml", "d3d_variants_ucf101.yaml")
STUDENTS = ("student", "mars", "distil_only", "auxiliary")


@pytest.fixture(scope="module")
def tasks() -> dict[str, Task]:
    return {task.name: task for task in graph_of("d3d_variants").tasks}


@pytest.fixture(scope="module")
def paper() -> dict[str, Any]:
    return load_params(graph_of("d3d_variants"), ROOT / "params" / "d3d_variants_ucf101.yaml")


@pytest.mark.parametrize("name", FILES)
def test_committed_parameter_files_are_valid(name: str) -> None:
    checked = load_params(graph_of("d3d_variants"), ROOT / "params" / name)
    assert list(checked) == list(schema_of(graph_of("d3d_variants")))
    assert checked["teacher"] == checked["student"]  # one schedule for all
    for section in ("frames", "short_side", "crop", "flip"):
        assert checked["learnt_flow"][section] == checked["teacher"][section]
    variants = [checked[name] for name in ("distillation", "mars", "distil_only", "reverse", "auxiliary")]
    assert len({variant["unlabelled_batch_size"] for variant in variants}) == 1  # and the same clips


def test_tasks_and_their_steps(tasks: dict[str, Task]) -> None:
    assert {name: task.step for name, task in tasks.items()} == {
        "ingest": "ingest",
        "validate": "validate",
        "extract-flow": "extract_flow",
        "pretrain": "pretrain",
        "teacher": "train",
        "plain": "train",
        "student": "distill",
        "mars": "distill",
        "distil_only": "distill",
        "reverse": "distill",
        "auxiliary": "train_auxiliary",
        "pretrain-learnt-flow": "pretrain_learnt_flow",
        "learnt_flow": "train",
        "evaluate": "evaluate",
        "evaluate-flow": "evaluate",
        "probe-motion": "probe_motion",
        "register": "register",
    }


@pytest.mark.parametrize(
    ("name", "initial", "teacher", "settings"),
    [
        ("student", "rgb", "teacher", "distillation"),
        ("mars", "rgb", "teacher", "mars"),
        ("distil_only", "rgb", "teacher", "distil_only"),
        ("reverse", "flow", "plain", "reverse"),
    ],
)
def test_who_teaches_whom(tasks: dict[str, Task], name: str, initial: str, teacher: str, settings: str) -> None:
    task = tasks[name]
    assert task.inputs["initial"] == Produced("pretrain", initial)
    assert task.inputs["teacher"] == Produced(teacher, "model")
    assert task.sections["distillation"] == settings
    assert task.constants["name"] == name
    assert task.constants["use_unlabelled"] is True


def test_networks_start_from_the_same_weights(tasks: dict[str, Task]) -> None:
    for name in ("plain", "auxiliary"):
        assert tasks[name].inputs["initial"] == Produced("pretrain", "rgb")
    assert tasks["teacher"].inputs["initial"] == Produced("pretrain", "flow")
    for name in ("plain", *STUDENTS):
        assert tasks[name].sections["params"] == "student"
    assert tasks["pretrain-learnt-flow"].inputs["stream"] == Produced("teacher", "model")
    assert tasks["learnt_flow"].inputs["initial"] == Produced("pretrain-learnt-flow", "model")
    assert "flow" not in tasks["learnt_flow"].inputs  # it finds its own


def test_what_is_compared_and_what_is_registered(tasks: dict[str, Task]) -> None:
    def networks(task: str) -> list[str]:
        return [made.task for made in tasks[task].paths("models")]

    assert networks("evaluate") == ["plain", *STUDENTS, "teacher"]
    assert networks("evaluate-flow") == ["teacher", "reverse", "learnt_flow", "plain", "student"]
    assert networks("probe-motion") == ["teacher", "plain", *STUDENTS]
    assert tasks["evaluate-flow"].sections["params"] == "flow_evaluation"
    assert tasks["register"].inputs == {
        "model": Produced("student", "model"),
        "evaluation": Produced("evaluate", "evaluation"),
    }


def test_nothing_is_trained_before_validation_has_passed(tasks: dict[str, Task]) -> None:
    for name in ("extract-flow", "plain"):
        assert tasks[name].after == ("validate",)


def test_variants_are_the_paper_s(paper: dict[str, Any]) -> None:
    for section, changes in (
        ("distillation", {}),
        ("mars", {"layer": "features", "kd_weight": 50.0}),
        ("distil_only", {"ce_weight": 0.0}),
        ("reverse", {"direction": "rgb_to_flow"}),
    ):
        # UCF101 has no unlabelled clips: all are of the published form.
        assert paper[section] == {**DistillSettings().model_dump(), "unlabelled_batch_size": 0, **changes}
    assert paper["auxiliary"]["unlabelled_batch_size"] == 0
    assert paper["estimator"]["width"] == paper["network"]["width"] == 1.0
    assert not paper["estimator"]["frozen"]


def test_networks_and_schedule_are_those_of_d3d(paper: dict[str, Any]) -> None:
    d3d = load_params(graph_of("d3d"), ROOT / "params" / "d3d_ucf101.yaml")
    for section in ("ingestion", "validation", "flow", "network", "teacher", "student"):
        assert paper[section] == d3d[section]


def test_probes_are_all_decoders_from_low_to_high_stages(paper: dict[str, Any]) -> None:
    probes = paper["probes"]
    assert probes["decoders"] == ["simple", "spatial", "pwc"]
    assert (probes["stages"][0], probes["stages"][-1]) == ("Conv2c", "Mixed5c")
    assert (probes["student"], probes["baseline"], probes["split"]) == ("student", "plain", "test")


def test_ensembles_of_the_paper_are_fused(paper: dict[str, Any]) -> None:
    assert [fusion["models"] for fusion in paper["evaluation"]["fusion"]] == [
        ["plain", "student"],  # D3D + S3D-G
        ["teacher", "plain"],
        ["teacher", "student"],
    ]
    assert ["learnt_flow", "plain"] in [fusion["models"] for fusion in paper["flow_evaluation"]["fusion"]]
