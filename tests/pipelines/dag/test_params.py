from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.frontend.inputs import local_inputs
from kineflow.storage.errors import KineflowError
from pipelines.dag.graph import graph_of
from pipelines.dag.params import demo_params, graph_for, load_cluster, load_params, schema_of
from pipelines.dag.recipes import load_pipeline
from pipelines.dag.sources import ROOT

Values = dict[str, Any]


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Callable[[Values], Any]], Path]:
    """The demo's parameters after a change, as a file."""

    def make(change: Callable[[Values], Any]) -> Path:
        values = yaml.safe_load((ROOT / "params.yaml").read_text())
        change(values)
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return make


@pytest.mark.parametrize("path", [ROOT / "params.yaml", ROOT / "params" / "d3d_ucf101.yaml"], ids=lambda p: p.name)
def test_committed_parameter_files_are_valid(path: Path) -> None:
    checked = load_params(graph_of("d3d"), path)
    assert list(checked) == list(schema_of(graph_of("d3d")))
    assert checked["teacher"]["optimiser"]["momentum"] == 0.9  # defaults are filled in


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v["teacher"].update(stepz=1), ["teacher.stepz", "unknown key", "steps"]),
        (lambda v: v["teacher"]["optimiser"].update(lr=1), ["teacher.optimiser.lr", "unknown key", "learning_rate"]),
        (lambda v: v["student"].update(batch_size=0), ["student.batch_size", "greater than or equal to 1", "0"]),
        (lambda v: v["flow"].update(bound_px="far"), ["flow.bound_px", "number", "'far'"]),
        (lambda v: v.update(techer={}), ["techer", "unknown section", "teacher"]),
        (lambda v: v.pop("registration"), ["registration: missing", "name"]),
        (lambda v: v.update(seed="one"), ["seed", "int is expected", "'one'"]),
        (lambda v: v.update(seed=-3), ["seed", "from 0 to 2147483647", "-3"]),
        (lambda v: v.update(student=None), ["student", "mapping"]),
        (lambda v: v["flow"].update(bound_px=float("nan")), ["flow.bound_px", "finite", "nan"]),
        (lambda v: v["evaluation"].update(student="stduent"), ["evaluation.student", "'stduent'", "plain, student"]),
        (lambda v: v["evaluation"].update(choose_among=["stduent"]), ["evaluation.choose_among", "'stduent'"]),
        (lambda v: v["evaluation"].update(clips_per_video_of={"stduent": 1}), ["clips_per_video_of", "'stduent'"]),
        (lambda v: v["ingestion"].update(size=[256]), ["or empty, not [256]\n"]),
        (lambda v: v["evaluation"].update(choose_among=["blend"]), ["'blend'", "the sections description, descriptor"]),
        (lambda v: v["evaluation"]["fusion"][1].update(models=["a", "plain"]), ["evaluation.fusion.1.models", "'a'"]),
        (lambda v: v["cluster"].update(volumes={}), ["cluster.volumes", "unknown key"]),
        (lambda v: v["cluster"].pop("volume"), ["cluster.volume: required"]),
    ],
)
def test_a_fault_names_the_key_the_value_and_what_is_allowed(changed: Any, change: Any, message: list[str]) -> None:
    with pytest.raises(KineflowError) as caught:
        load_params(graph_of("d3d"), changed(change))
    assert all(word in str(caught.value) for word in message), str(caught.value)


def test_a_model_that_would_be_another_again_is_not_to_be_named(changed: Any) -> None:
    path = changed(lambda v: v["distillation"].update(unlabelled_batch_size=0))
    with pytest.raises(KineflowError, match=r"choose_among: no .*'distilled'; .*it would be the student again"):
        load_params(graph_for("d3d", path), path)


def test_what_is_left_out_has_its_defaults(changed: Any) -> None:
    def keep(values: Values) -> None:
        for key in set(values) - {"registration", "evaluation"}:
            del values[key]

    def empty(values: Values) -> None:
        for key in set(values) - {"registration", "evaluation", "cluster"}:
            values[key] = {}
        values["seed"] = 0

    assert load_params(graph_of("d3d"), changed(keep)) == load_params(graph_of("d3d"), changed(empty))


def test_all_faults_are_named_at_once(changed: Any) -> None:
    def spoil(values: Values) -> None:
        values["teacher"]["steps"] = -1
        values["distillation"]["layer"] = "all"

    with pytest.raises(KineflowError, match=r"(?s)distillation\.layer.*teacher\.steps"):
        load_params(graph_of("d3d"), changed(spoil))


def test_values_are_what_kfp_takes() -> None:
    def is_plain(value: Any) -> bool:
        parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        return value is not None and all(map(is_plain, parts))

    assert is_plain(load_params(graph_of("d3d"), ROOT / "params.yaml"))


def test_local_inputs_are_those_that_lie_on_this_machine() -> None:
    schema = schema_of(graph_of("d3d"))
    assert local_inputs(schema["ingestion"], {"source": "data", "annotations": "lists"}) == ["data", "lists"]
    assert local_inputs(schema["ingestion"], {"source": "s3://bucket/videos", "annotations": ""}) == []
    assert local_inputs(schema["seed"], {}) == []


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(KineflowError, match="no recipe 'd4d'") as caught:
        load_pipeline("d4d")
    assert "d3d" in str(caught.value)


def test_inputs_within_lists_are_found() -> None:
    kind = schema_of(graph_of("d3d"))["evaluation"]
    sources = [{"name": "idt", "path": "scores/idt.csv"}, {"name": "mifs", "path": "s3://bucket/mifs.csv"}]
    assert local_inputs(kind, {"imported": sources, "student": "plain"}) == ["scores/idt.csv"]


@pytest.mark.parametrize(("recipe", "file"), [("d3d", "params.yaml"), ("tsn", "params/tsn.yaml")])
def test_every_recipe_has_a_demo(recipe: str, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert demo_params(recipe) == ROOT / file
    load_params(graph_of(recipe), demo_params(recipe))


def test_how_a_cluster_runs_it_is_no_part_of_a_recipe() -> None:
    assert "cluster" not in load_params(graph_of("d3d"), ROOT / "params.yaml")


def test_a_file_without_a_cluster_section_takes_that_of_the_project() -> None:
    own, common = (load_cluster(ROOT / path) for path in ("params/d3d_ucf101.yaml", "params.yaml"))
    assert own is not None
    assert own.volume.path == "/data"
    assert common is not None
    assert load_cluster(ROOT / "params" / "tsn.yaml") == common
