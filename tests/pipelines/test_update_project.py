"""``kineflow init --update``: new videos come to a project, and what is its user's stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from kineflow.survey import page
from kineflow.video.encode import write_video
from pipelines.cli import app

pytestmark = pytest.mark.slow
PARAMS = """\
ingestion: {source: ../videos, layout: csv, annotations: clips.csv, fps: 3, short_side: 64}
selection: {folds: 2}
registration: {name: mine}
"""
ROWS = "path,label,group,split\na/1.mp4,A corrected,ann,train\na/2.mp4,A corrected,bob,train\n"
MORE = "b/3.mp4,b,cem,train\nb/4.mp4,b,dora,train\n"


def film(path: Path, scene: int) -> None:
    noise = np.random.default_rng(scene).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    picture = noise.repeat(6, axis=0).repeat(6, axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, [np.roll(picture, n, axis=1) for n in range(10)], fps=10)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of four videos of four scenes; a class has another name than its folder."""
    monkeypatch.setenv("KINEFLOW_PROJECT", "")
    for number in (1, 2, 3, 4):
        film(tmp_path / "videos" / ("a" if number < 3 else "b") / f"{number}.mp4", number)
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "params.yaml").write_text(PARAMS)
    (folder / "clips.csv").write_text(ROWS + MORE)
    monkeypatch.chdir(folder)
    return folder


def kineflow(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["init", "--update", *words], catch_exceptions=code != -1)
    assert done.exit_code == code, done.output
    return done.output


def test_videos_come_and_go(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos, clips = project.parent / "videos", project / "clips.csv"
    film(videos / "b" / "5.mp4", 1)  # the scene of a/1
    film(videos / "b" / "6.mp4", 6)
    (videos / "b" / "broken.mp4").write_bytes(b"no video")

    def interrupted(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(page, "render", interrupted)
        assert CliRunner().invoke(app, ["init", "--update"]).exit_code != 0
    assert clips.read_text() == ROWS + MORE
    assert {path.name for path in project.iterdir()} == {"params.yaml", "clips.csv"}

    told = kineflow()
    assert "2 clips added" in told
    assert "left out: b/broken.mp4" in told
    assert "ingestion.fps: 0" in told  # all have 10 fps, and the project asks for 3
    assert clips.read_text() == ROWS + MORE + "b/5.mp4,b,ann,train\nb/6.mp4,b,b/6,train\n"
    assert (project / "params.yaml").read_text() == PARAMS
    assert "5.mp4" in (project / "data.html").read_text(encoding="utf-8")

    (videos / "b" / "broken.mp4").unlink()
    assert "nothing new" in kineflow()

    (videos / "a" / "2.mp4").unlink()
    assert "rows kept" in kineflow()
    assert "would be removed" in kineflow("--prune", "--dry-run")
    assert "a/2.mp4" in clips.read_text()
    kineflow("--prune")
    assert clips.read_text().splitlines()[1:3] == ["a/1.mp4,A corrected,ann,train", "b/3.mp4,b,cem,train"]


def test_a_place_that_is_not_there_empties_no_project(project: Path) -> None:
    (project.parent / "videos").rename(project.parent / "elsewhere")
    (project.parent / "videos").mkdir()
    assert "none of the project's videos is there" in kineflow("--prune", code=2)
    assert (project / "clips.csv").read_text() == ROWS + MORE


def test_what_is_no_project_of_videos_and_what_does_not_go_together(project: Path, tmp_path: Path) -> None:
    assert "--folds is not for --update" in kineflow("--folds", "3", code=2)
    (project / "params.yaml").write_text("ingestion: {layout: ucf101}\n")
    assert "not listed in a CSV file" in kineflow(code=2)
    (project / "params.yaml").unlink()
    assert "no project" in kineflow(code=2)
    done = CliRunner().invoke(app, ["init", str(tmp_path / "videos"), "--prune"])
    assert (done.exit_code, "not for a new project" in done.output) == (2, True)
