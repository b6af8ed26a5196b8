"""D3D on Kinetics and its transfer: parameter files, and what they say of the paper."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipelines.dag.graph import graph_of
from pipelines.dag.params import graph_for, load_params, schema_of
from pipelines.dag.sources import ROOT

PARAMS = ROOT / "params"
FILES = ("d3d_transfer.yaml", "d3d_transfer_ucf101.yaml", "d3d_transfer_hmdb51.yaml")


@pytest.mark.parametrize("name", FILES)
def test_committed_parameter_files_are_valid(name: str) -> None:
    checked = load_params(graph_of("d3d_transfer"), PARAMS / name)
    assert list(checked) == list(schema_of(graph_of("d3d_transfer")))


def test_the_two_sets_are_treated_alike() -> None:
    first, second = (load_params(graph_of("d3d_transfer"), PARAMS / name) for name in FILES[1:])
    for section in ("validation", "network", "training", "evaluation"):
        assert first[section] == second[section]
    assert [values["ingestion"]["layout"] for values in (first, second)] == ["ucf101", "hmdb51"]


def test_other_weights_are_fine_tuned_beside_it_where_they_are_named(tmp_path: Path) -> None:
    text = (PARAMS / FILES[1]).read_text()
    for line in ("compared_network:", "  architecture: s3d_g", "baseline: compared", "fusion:", "  - models: [student"):
        assert f"# {line}" in text  # what a reader is told to take the # from
    values = {**yaml.safe_load(text), "compared_network": {"architecture": "s3d_g"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    graph = graph_for("d3d_transfer", tmp_path / "params.yaml")
    tasks = {task.name: task for task in graph.tasks}
    starts = {name: tasks[name].paths("initial")[0].task for name in ("student", "compared")}
    assert starts == {"student": "pretrain", "compared": "pretrain-compared"}
    assert {task.sections["params"] for name, task in tasks.items() if name in starts} == {"training"}
    assert tasks["register"].paths("model")[0].task == "student"
    assert not {"extract-flow", "distill"} & tasks.keys()


def test_kinetics_takes_the_paper_s_batch_and_schedule() -> None:
    checked = load_params(graph_of("d3d"), PARAMS / "d3d_kinetics400.yaml")
    teacher = checked["teacher"]
    assert teacher == checked["student"]
    assert teacher["batch_size"] == 56 * 6
    assert teacher["batch_size"] / (teacher["devices"] * teacher["accumulate"]) == 6
    drops = [round(share * teacher["steps"], -3) for share in teacher["optimiser"]["milestones"]]
    assert (teacher["optimiser"]["learning_rate"], drops) == (0.1, [100_000, 140_000])
    assert checked["evaluation"]["split"] == "val"
    assert not checked["evaluation"]["choose_among"]
    assert [fusion["models"] for fusion in checked["evaluation"]["fusion"]][:2] == [
        ["plain", "student"],
        ["teacher", "plain"],
    ]
