"""A training in a pod, killed and tried again in another one: it goes on from its last round."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.launch.kept_work import VOLUME, keep_work, remove_kept_work
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import KEEP_WORK, work_done, work_folder


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    volume = tmp_path / "volume"
    volume.mkdir()
    monkeypatch.setenv(VOLUME, str(volume))
    monkeypatch.setenv("KINEFLOW_RUN_ID", "run-1")
    monkeypatch.setenv(KEEP_WORK, "")  # is put back, whatever the code sets
    return volume


def work_of(pod: Path, task: str) -> Path:
    model = pod / "model"
    keep_work("components.train", {"name": task, "model": model}, ["model"])
    return work_folder(model, "key")


def test_the_next_attempt_finds_the_work_in_another_pod(volume: Path, tmp_path: Path) -> None:
    (work_of(tmp_path / "pod-1", "teacher") / "last.ckpt").write_text("round 3")
    work_done(tmp_path / "pod-1" / "model")
    assert not any(work_of(tmp_path / "pod-2", "plain").iterdir())
    assert (work_of(tmp_path / "pod-3", "teacher") / "last.ckpt").read_text() == "round 3"
    assert (work_of(tmp_path / "pod-3", "teacher") / "last.ckpt").exists()  # tried again in the same place
    remove_kept_work("run-1")
    assert not any((volume / "jobs").iterdir())


def test_without_a_volume_work_stays_beside_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VOLUME, raising=False)
    assert work_of(tmp_path, "teacher").resolve().parent.parent == tmp_path.resolve()


def test_a_volume_that_is_not_mounted_is_named(volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VOLUME, "/not/mounted")
    with pytest.raises(KineflowError, match="not mounted here"):
        work_of(tmp_path, "teacher")
