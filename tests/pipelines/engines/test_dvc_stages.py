from pathlib import Path
from typing import Any

import yaml

from pipelines.dag.sources import ROOT
from pipelines.engines.dvc_stages import dvc_yaml

STALE = "dvc.yaml is not what the recipe says; run: kineflow compile d3d --to dvc"


def stages() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(dvc_yaml("d3d", ROOT / "params.yaml", ROOT))["stages"]
    return found


def test_the_committed_file_is_the_generated_one() -> None:
    assert (ROOT / "dvc.yaml").read_text() == dvc_yaml("d3d", ROOT / "params.yaml", ROOT), STALE


def test_a_stage_depends_on_its_inputs_its_parameters_and_its_code() -> None:
    teacher = stages()["teacher"]
    assert {"outputs/ingest/clips", "outputs/extract-flow/flow", "outputs/pretrain/flow"} <= set(teacher["deps"])
    assert {"components/train/step.py", "kineflow/training/tasks.py", "kineflow/models/s3d.py"} <= set(teacher["deps"])
    assert teacher["params"] == [{"params.yaml": ["seed", "teacher"]}]
    assert teacher["outs"] == ["outputs/teacher/model"]
    assert teacher["metrics"] == [{"outputs/teacher/metrics.json": {"cache": False}}]


def test_the_source_of_the_videos_is_a_dependency_of_ingestion() -> None:
    assert "data" in stages()["ingest"]["deps"]


def test_a_gate_is_a_dependency_though_nothing_of_it_is_read() -> None:
    flow = stages()["extract-flow"]
    assert "outputs/validate/report.html" in flow["deps"]
    assert "report" not in flow["cmd"]


def test_every_dependency_exists_or_is_made_by_a_stage() -> None:
    made = {out for stage in stages().values() for out in stage.get("outs", [])}
    needed = {dep for stage in stages().values() for dep in stage["deps"]} - made - {"data"}
    assert [dep for dep in sorted(needed) if not (ROOT / dep).exists()] == []


def test_other_parameters_have_a_workspace_of_their_own(tmp_path: Path) -> None:
    text = dvc_yaml("d3d", ROOT / "params.yaml", ROOT / "runs" / "mine")
    stage = yaml.safe_load(text)["stages"]["ingest"]
    assert stage["wdir"] == "../.."
    assert stage["outs"] == ["runs/mine/outputs/ingest/clips"]
