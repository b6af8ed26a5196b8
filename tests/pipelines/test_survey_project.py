"""``kineflow init VIDEOS`` as its user meets it: from videos as they lie there to a project that `check` takes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from kineflow.storage.page_policy import PAGE_POLICY
from kineflow.video.encode import write_video
from pipelines.cli import app

pytestmark = pytest.mark.slow
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINEFLOW_PROJECT", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def kineflow(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of six scenes, two clips of each: noise that goes right or left, at 10 and 20 fps; a broken one."""
    folder = tmp_path_factory.mktemp("videos")
    for name, step in (("right", 1), (HOSTILE, -1)):
        (folder / name).mkdir()
        for scene in range(6):
            noise = np.random.default_rng(scene).integers(0, 255, (12, 16, 3), dtype=np.uint8)
            picture = noise.repeat(6, axis=0).repeat(6, axis=1)
            fps = 10 if scene % 2 else 20
            for take in range(2):
                frames = [np.roll(picture, step * (n + take * 3), axis=1) for n in range(fps)]
                write_video(folder / name / f"scene{scene} ({take}).mp4", frames, fps=fps)
    (folder / "right" / "broken.mp4").write_bytes(b"no video")
    return folder


def test_a_folder_of_classes_becomes_a_project(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(videos.rglob("*"))
    told = kineflow("init", str(videos), "--folds", "0", "--budget", "90s", "--project", "mine")
    assert "layout folder" in told
    assert "1 of them left out" in told
    assert sorted(videos.rglob("*")) == before

    project = tmp_path / "mine"
    rows = list(csv.DictReader((project / "clips.csv").open(encoding="utf-8")))
    assert len(rows) == 24
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row["group"], set()).add(row["split"])
    assert all(len(there) == 1 for there in splits.values())
    assert set.union(*splits.values()) == {"train", "val", "test"}
    assert all(len({row["group"] for row in rows if f"scene{n} " in row["path"]}) == 1 for n in range(6))

    text = (project / "params.yaml").read_text(encoding="utf-8")
    params = yaml.safe_load(text)
    assert params["ingestion"]["fps"] == 10
    assert params["teacher"]["flip"] is False  # a class is called right
    assert params["evaluation"]["choose_among"] == ["blend", "plain", "student"]  # none is unlabelled
    assert params["descriptor"]["frames"] == 10
    assert "rates run from 10 to 20" in text
    assert "valid for d3d" in kineflow("check", "d3d", "--project", "mine")

    page = (project / "data.html").read_text(encoding="utf-8")
    assert PAGE_POLICY.split(";")[0] in page.replace("&#39;", "'")
    assert HOSTILE not in page
    assert "broken.mp4" in page
    assert "a project already" in kineflow("init", str(videos), "--project", "mine", code=2)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--project", "{videos}"), "would lie among its videos"),
        (("--budget", "soon"), "'soon' is no time"),
        (("--recipe", "none"), "no recipe 'none'"),
        (("--paper",), "leave it out"),
        (("--folds", "1"), "1 fold leaves nothing"),
        (("--folds", "21"), "ask for 20 or fewer"),
        (("--folds", "3", "--recipe", "d3d"), "d3d trains on one split"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_looked_at(
    words: tuple[str, ...], problem: str, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = kineflow("init", str(videos), *(word.format(videos=videos) for word in words), code=2)
    assert problem in told
    assert not list(tmp_path.iterdir())


def test_a_place_without_videos_is_no_project_by_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no videos there" in kineflow("init", "wrong", "--project", "mine", code=2)
    assert not list(tmp_path.iterdir())


def test_few_clips_become_a_project_that_check_takes(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kineflow("init", str(videos), "--budget", "90s", "--project", "mine")
    params = yaml.safe_load((tmp_path / "mine" / "params.yaml").read_text(encoding="utf-8"))
    assert params["validation"]["require_every_class_in"] == ["train"]
    assert params["registration"]["above_baselines"] is True
    assert "valid for few_clips" in kineflow("check", "few_clips", "--project", "mine")
