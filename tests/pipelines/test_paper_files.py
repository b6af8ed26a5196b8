"""The papers' parameter files on other data sets than UCF101: what they have for themselves, and nothing more."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.dag.params import graph_for, load_params
from pipelines.dag.recipes import recipe_names
from pipelines.dag.sources import ROOT
from pipelines.project import add_recipe, paper_files, recipe_params

VIDEOS = {"ucf101": 9537, "hmdb51": 3570}  # of training split 1

TSN_NETS = {("steps",): 2500, ("batch_size",): 128, ("optimiser", "milestones"): [0.4, 0.8]}
TSN_FLOW = {("steps",): 7000, ("batch_size",): 128, ("optimiser", "milestones"): [0.5714, 0.8571]}
WIDE = {("network", "hidden"): 1024, ("network", "head_width"): 1024}
PASSES = {("steps",): 5400, ("validate_every_steps",): 300}

# What a file on HMDB51 has that the one on UCF101 has not, by section.
HMDB51: dict[str, dict[str, dict[tuple[str, ...], Any]]] = {
    "d3d": {name: {("steps",): 15000} for name in ("teacher", "student")},
    "d3d_variants": {name: {("steps",): 15000} for name in ("teacher", "student", "learnt_flow")},
    "tsn": {"spatial": TSN_NETS, "difference": TSN_NETS, "temporal": TSN_FLOW},
    "st_resnet": {
        "appearance": {
            ("steps",): 560, ("validate_every_steps",): 140, ("optimiser", "milestones"): [0.5, 0.75]
        },
        "motion": {("steps",): 11160, ("validate_every_steps",): 558},
        "st_resnet": {("steps",): 8928, ("validate_every_steps",): 1116},
        "st_resnet_star": {("steps",): 446, ("validate_every_steps",): 223},
    },
    "alstm": {
        **{name: {**PASSES, **WIDE} for name in ("attention", "average", "max", "penalised")},
        "cube": PASSES,
        "features": {("media_root",): "/data/hmdb51/features"},
    },
    "videolstm": {
        "spatial": TSN_NETS, "temporal": TSN_FLOW, "features": {("media_root",): "/data/hmdb51/features"},
    },
}  # fmt: skip


@pytest.mark.parametrize("recipe", HMDB51)
def test_hmdb51_differs_from_ucf101_in_what_is_its_own(recipe: str) -> None:
    ours, theirs = (_flat(_checked(recipe, name)) for name in ("hmdb51", "ucf101"))
    its_own = {
        ("ingestion", "source"): "/data/hmdb51/videos",
        ("ingestion", "annotations"): "/data/hmdb51/splits",
        ("ingestion", "layout"): "hmdb51",
        ("registration", "name"): theirs["registration", "name"].replace("ucf101", "hmdb51"),
        **{(section, *key): value for section, values in HMDB51[recipe].items() for key, value in values.items()},
    }
    assert ours.keys() == theirs.keys()
    assert {key: value for key, value in ours.items() if value != theirs[key]} == its_own


SEVERAL = ("network", "multi_label")


@pytest.mark.parametrize(("data_set", "several"), [("ucf11", False), ("hollywood2", True)])
def test_alstm_s_other_data_sets_differ_in_what_is_their_own(data_set: str, several: bool) -> None:
    ours, theirs = (_flat(_checked("alstm", name)) for name in (data_set, "ucf101"))
    networks = {(name, *SEVERAL) for name in ("attention", "average", "max", "cube", "penalised") if several}
    assert ours.keys() - theirs.keys() == networks
    assert all(ours[key] for key in networks)
    changed = {key[0] for key, value in theirs.items() if ours.get(key) != value}
    lengths = {"attention", "average", "max", "cube", "penalised"}
    assert changed - {"validation"} == {"ingestion", "features", "registration", *lengths}
    assert {key for key, value in theirs.items() if key[0] in lengths and ours[key] != value} == {
        (name, key) for name in lengths for key in ("steps", "validate_every_steps", "epochs", "validate_every_epochs")
    }
    assert (ours["registration", "primary_metric"] == "average_precision") == several


@pytest.mark.parametrize("section", ["motion", "st_resnet", "st_resnet_star"])
def test_st_resnet_looks_as_often_at_each_video(section: str) -> None:
    looks = {
        name: settings["steps"] * settings["batch_size"] / VIDEOS[name]
        for name in VIDEOS
        for settings in [_checked("st_resnet", name)[section]]
    }
    assert looks["hmdb51"] == pytest.approx(looks["ucf101"], rel=0.005)


@pytest.mark.parametrize("recipe", sorted({*recipe_names()} - {"few_clips"}))
def test_a_project_starts_from_a_paper_s_data_set(recipe: str, tmp_path: Path) -> None:
    assert {"ucf101", "hmdb51"} <= paper_files(recipe).keys()
    assert "variants_ucf101" not in paper_files(recipe)
    assert "layout: hmdb51" in add_recipe(tmp_path, recipe, paper="hmdb51").read_text()


def test_a_project_has_a_recipe_on_several_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINEFLOW_PROJECT", "")
    (tmp_path / "params.yaml").write_text(recipe_params("d3d_transfer", paper="ucf101"))
    words = ("init", str(tmp_path), "--recipe", "d3d_transfer", "--paper")
    done = CliRunner().invoke(app, [*words, "--dataset", "hmdb51"])
    assert done.exit_code == 0, done.output
    assert "layout: hmdb51" in (tmp_path / "params" / "d3d_transfer_hmdb51.yaml").read_text()
    assert "it is of d3d_transfer already" in kineflow(*words, "--dataset", "hmdb51")
    assert "it is of d3d_transfer already" in kineflow(*words)


def test_a_data_set_that_no_paper_has_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINEFLOW_PROJECT", "")  # commands set it; it is put back afterwards
    said = kineflow("init", str(tmp_path / "a"), "--recipe", "tsn", "--paper", "--dataset", "kinetics")
    assert "there are hmdb51, ucf101" in said
    assert "goes with --paper" in kineflow("init", str(tmp_path / "a"), "--dataset", "hmdb51")
    assert "it has none" in kineflow("init", str(tmp_path / "a"), "--recipe", "few_clips", "--paper")
    assert not (tmp_path / "a" / "params.yaml").exists()


def kineflow(*words: str) -> str:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2, done.output
    return " ".join(done.output.split())


def _checked(recipe: str, data_set: str) -> dict[str, Any]:
    path = ROOT / "params" / f"{recipe}_{data_set}.yaml"
    return load_params(graph_for(recipe, path), path)


def _flat(values: dict[str, Any], *before: str) -> dict[tuple[str, ...], Any]:
    flat: dict[tuple[str, ...], Any] = {}
    for key, value in values.items():
        flat |= _flat(value, *before, key) if isinstance(value, dict) else {(*before, key): value}
    return flat
