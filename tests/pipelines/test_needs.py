"""What a run takes is estimated before it, from its parameters and a few headers."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from kineflow.data.ingest_settings import IngestSettings
from kineflow.data.listing import list_source
from kineflow.survey.machine import Machine
from kineflow.video.encode import write_video
from pipelines import needs
from pipelines.dag.params import graph_for, load_params, schema_of
from pipelines.plan import Listed, Plan, Where
from pipelines.training_needs import map_bytes_of, training_needs
from tests.pipelines.conftest import TINY_PARAMS
from tests.pipelines.test_alstm_run import PARAMS as TINY_ALSTM

ROOT = Path(__file__).resolve().parents[2]


def plan_of(recipe: str, file: Path, project: Path, where: Where = "later") -> Plan:
    graph = graph_for(recipe, file)
    return Plan(graph, load_params(graph, file), schema_of(graph), file, project, where)


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Of a run on two clips of 64x48, 10 and 30 frames, on a machine whose speed is known."""
    videos = tmp_path / "videos"
    videos.mkdir()
    for number, frames in enumerate((10, 30)):
        write_video(videos / f"{number}.mp4", np.zeros((frames, 48, 64, 3), np.uint8), fps=10.0)
    (videos / "clips.csv").write_text("path,label,split\n0.mp4,a,train\n1.mp4,a,train\n")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(TINY_PARAMS))
    monkeypatch.setattr("kineflow.survey.machine.this_machine", lambda: Machine(2, 10_000))
    monkeypatch.setattr("kineflow.training.cost.operations_a_second", lambda: 1e9)
    plan = plan_of("d3d", tmp_path / "params.yaml", tmp_path)
    settings = IngestSettings(source=str(videos), layout="csv", short_side=24)
    listed = list_source(settings)
    plan.listed = Listed(settings, listed.source, listed.listing.clips)
    return plan


def test_data_disk_memory_and_time_are_told(plan: Plan) -> None:
    lines, faults = needs.estimate_needs(plan)
    assert not faults
    told = {line.split()[0]: line for line in lines}
    assert "2 videos" in told["data"]
    assert "about 40 frames" in told["data"]
    assert "clips, flow" in told["disk"]
    assert str(plan.project / "media") in told["disk"]
    operations = sum(need.operations for need in training_needs(plan)[0])
    assert f"{operations / 1e12:.3g} TFLOP" in told["time"]
    assert "at least" in told["memory"]


def test_too_little_disk_or_memory_is_a_fault(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kineflow.survey.machine.this_machine", lambda: Machine(2, 0))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    _, faults = needs.estimate_needs(plan)
    assert ["disk" in str(fault) for fault in faults] == [True, False]
    assert "lower batch_size" in faults[1].remedy
    (plan.project / "media").mkdir()
    (plan.project / "media" / "stored").write_bytes(bytes(10_000))  # and need not be stored again
    assert len(needs.estimate_needs(plan)[1]) == 1


def test_for_a_cluster_it_is_said_what_each_training_takes(plan: Plan) -> None:
    plan.where, plan.listed = "cluster", None
    lines, _ = needs.estimate_needs(plan)
    assert [line.split()[1] for line in lines[1:]] == ["plain:", "teacher:", "distilled:", "student:"]


def test_a_cluster_s_disk_is_not_this_machine_s(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    plan.where = "cluster"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    lines, faults = needs.estimate_needs(plan)
    assert not faults
    assert str(plan.project) not in next(line for line in lines if line.startswith("disk"))


def test_clips_of_a_given_size_take_as_much_whatever_the_videos_are(plan: Plan) -> None:
    assert plan.listed
    small = needs.estimate_needs(plan)[0][1]
    settings = plan.listed.settings.model_copy(update={"size": (640, 480)})
    plan.listed = dataclasses.replace(plan.listed, settings=settings)
    assert needs.estimate_needs(plan)[0][1] != small
    assert needs._size_of(plan.listed).stored_pixels == pytest.approx(40 * 640 * 480 / 1e6)  # type: ignore[union-attr]


def test_a_refit_and_a_teacher_of_unknown_size_are_named(plan: Plan) -> None:
    values = yaml.safe_load(plan.params_file.read_text())
    values["own_teacher"] = {"bundle": "models:/big/1"}
    values["teacher"]["refit"] = True
    plan.params_file.write_text(yaml.safe_dump(values))
    taught = plan_of("d3d", plan.params_file, plan.project)
    said = "\n".join(needs.estimate_needs(taught)[0])
    assert "up to twice as long for teacher, with refit" in said
    assert "the teacher 'own' of student" in said


def test_peers_of_the_student_look_at_clips_once_more(plan: Plan) -> None:
    values = yaml.safe_load(plan.params_file.read_text())
    values |= {
        name: {"unlabelled_batch_size": values["distillation"]["unlabelled_batch_size"]}
        for name in ("fixmatch", "mean_teacher")
    }
    plan.params_file.write_text(yaml.safe_dump(values))
    counted, unknown = training_needs(plan_of("d3d", plan.params_file, plan.project))
    assert not unknown
    took = {need.task: need.operations for need in counted}
    assert took["plain"] < took["fixmatch"] < took["mean_teacher"] < 3 * took["plain"]


def test_what_a_paper_s_file_says_of_its_memory_is_what_is_counted() -> None:
    """ST-ResNet's file: 27 and 30 GiB are kept for the backward pass in float32."""
    counted, unknown = training_needs(plan_of("st_resnet", ROOT / "params" / "st_resnet_ucf101.yaml", ROOT))
    assert not unknown
    kept = {need.task: need.memory_bytes / 2**30 for need in counted}
    assert kept["st_resnet"] == pytest.approx(27, abs=1)
    assert kept["st_resnet_star"] == pytest.approx(30, abs=1)


def test_a_student_pays_for_its_teacher_and_its_unlabelled_clips(plan: Plan) -> None:
    counted = {need.task: need for need in training_needs(plan)[0]}
    assert counted["plain"].operations < counted["distilled"].operations < counted["student"].operations
    assert counted["plain"].memory_bytes == counted["distilled"].memory_bytes < counted["student"].memory_bytes


def test_bytes_a_pixel_are_those_of_the_page_on_scale() -> None:
    measured = json.loads((ROOT / "benchmarks" / "scale_model" / "figures.json").read_text())
    pixels = {"ucf101": 320 * 240, "kinetics": 340 * 256}
    for which, (kind, size) in enumerate(pixels.items()):
        assert measured[kind]["stored_bytes_a_frame"] / size == pytest.approx(needs.CLIP_BYTES[which], rel=0.02)
        assert measured[kind]["flow_bytes_a_field"] / size == pytest.approx(needs.FLOW_BYTES[which], rel=0.02)


def test_maps_of_small_frames_are_counted_as_they_are_stored(tmp_path: Path) -> None:
    params = tmp_path / "alstm.yaml"
    params.write_text(yaml.safe_dump(TINY_ALSTM))
    plan = plan_of("alstm", params, tmp_path)
    extract = next(task for task in plan.graph.tasks if task.step == "extract_features")
    assert map_bytes_of(extract, plan) == 2 * 128 * 4 * 4, (
        "an eighth of 1024 channels, one cell for each 8x8 of 32x32 px"
    )
