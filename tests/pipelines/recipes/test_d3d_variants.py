"""The recipe of D3D's variants: its parameter files, and what they say of the paper."""

from __future__ import annotations

from typing import Any

import pytest

from kineflow.training.settings import DistillSettings
from pipelines.dag.graph import graph_of
from pipelines.dag.params import load_params, schema_of
from pipelines.dag.sources import ROOT

FILES = ("d3d_variants.yaml", "d3d_variants_ucf101.yaml")


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


def test_variants_are_the_paper_s(paper: dict[str, Any]) -> None:
    for section, changes in (
        ("distillation", {}),
        ("mars", {"layer": "features", "kd_weight": 50.0}),
        ("distil_only", {"ce_weight": 0.0}),
        ("reverse", {"direction": "rgb_to_flow"}),
    ):
        # UCF101 has no unlabelled clips: all are of the published form.
        assert paper[section] == {**DistillSettings().model_dump(mode="json"), "unlabelled_batch_size": 0, **changes}
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
