"""``kineflow gc`` in a project with a registered model."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kineflow.registry.aliases import DATA_TAG
from kineflow.sets.clip_set import Clip, ClipSet, clips_digest
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.tracking.store import connect, tracking_uri
from pipelines.cli import app


def clip(name: str, split: Split) -> Clip:
    return Clip(name, f"clips/aa/{name}.mp4", "x", name, split, 5, 25.0, 8, 8, 0, name, Status.OK, "", "")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose registered model was made from clips that no set in it names any more."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    for rows in (("trained", "tested"), ("other", "tested-otherwise"), ("present", "tested-now")):
        clips = (clip(rows[0], Split.TRAIN), clip(rows[1], Split.TEST))
        for each in clips:
            (tmp_path / "media" / each.path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "media" / each.path).write_bytes(b"12345")
        if rows[0] != "present":
            shutil.rmtree(tmp_path / "outputs", ignore_errors=True)
        ClipSet(("x",), clips, str(tmp_path / "media")).save(tmp_path / "outputs" / rows[0])
    shutil.rmtree(tmp_path / "outputs" / "other")
    for path in (tmp_path / "media").rglob("*.*"):
        os.utime(path, (0, 0))
    client = connect(tracking_uri(tmp_path))
    client.create_registered_model("student")
    version = clips_digest([clip("tested", Split.TEST)])
    client.create_model_version("student", source=str(tmp_path / "model"), tags={DATA_TAG: version})
    return tmp_path


def stored(project: Path) -> set[str]:
    return {path.stem for path in (project / "media" / "clips").rglob("*.mp4")}


EVERY = {"trained", "tested", "other", "tested-otherwise", "present", "tested-now"}


@pytest.mark.slow
def test_it_asks_and_removes_what_no_set_and_no_model_needs(project: Path) -> None:
    runner = CliRunner()
    shown = runner.invoke(app, ["gc", "--dry-run"])
    assert shown.exit_code == 0, shown.output
    assert [line.split() for line in shown.output.splitlines() if line.startswith("clips")] == [
        ["clips", "4", "2", "0.0"]
    ]
    refused = runner.invoke(app, ["gc"], input="n\n")
    assert (refused.exit_code, stored(project)) == (0, EVERY)
    (project / "below").mkdir()
    os.chdir(project / "below")
    assert runner.invoke(app, ["gc", "--yes"]).exit_code == 0
    assert stored(project) == EVERY - {"other", "tested-otherwise"}


def test_outside_of_a_project_there_is_nothing_to_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["gc", "--yes"]).exit_code == 2
