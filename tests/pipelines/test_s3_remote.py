"""DVC's remote on a real S3 server: push, a fresh clone, pull, and work on what came."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kineflow.sets.clip_set import ClipSet
from tests.swift import Swift

if TYPE_CHECKING:
    from tests.pipelines.conftest import Project


def said(folder: Path, *command: str) -> str:
    """Output of a command that must succeed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
def test_a_fresh_clone_pulls_the_data_and_works_on_them(
    swift: Swift, bare_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in swift.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # stages run `python`
    project, clone, bucket = bare_project.folder, tmp_path / "clone", swift.make_bucket()
    synth = bare_project.kineflow("synth", "data", "--spec", "synth.yaml", "--seed", "3", "--workers", "1")
    assert synth.code == 0, synth.said
    dvc = (sys.executable, "-m", "dvc")

    said(project, *dvc, "remote", "add", "--default", "store", f"s3://{bucket}/dvc")
    said(project, *dvc, "add", "data")
    assert '"not_in_remote"' in said(project, *dvc, "data", "status", "--not-in-remote", "--json", "data")
    said(project, *dvc, "push")
    objects = swift.client().list_objects_v2(Bucket=bucket)["Contents"]
    assert all(item["Key"].startswith("dvc/files/md5/") for item in objects)
    assert len(objects) > sum(path.suffix == ".mp4" for path in (project / "data").rglob("*"))

    # What git would bring: everything but the data and DVC's cache.
    shutil.copytree(project / ".dvc", clone / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    for name in ("params.yaml", "data.dvc"):
        shutil.copyfile(project / name, clone / name)
    assert not (clone / "data").exists()
    said(clone, *dvc, "pull", "data.dvc")

    pulled = {path.relative_to(clone): path.read_bytes() for path in (clone / "data").rglob("*") if path.is_file()}
    assert pulled == {
        path.relative_to(project): path.read_bytes() for path in (project / "data").rglob("*") if path.is_file()
    }
    said(clone, sys.executable, "-m", "pipelines.cli", "compile", "d3d", "--to", "dvc", "--params", "params.yaml")
    said(clone, *dvc, "repro", "validate")
    assert len(ClipSet.load(clone / "outputs" / "ingest" / "clips").clips) > 0
    assert (clone / "outputs" / "validate" / "report.html").is_file()
