from __future__ import annotations

from pathlib import Path

import pytest

from kineflow.storage.project import find_project, media_folder


@pytest.fixture(autouse=True)
def unnamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KINEFLOW_PROJECT", raising=False)


def test_the_nearest_folder_with_dvc_in_it_is_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "outer" / "inner"
    for project in (inner, inner.parent):
        (project / ".dvc").mkdir(parents=True)
    assert find_project(inner / "outputs" / "not there yet") == inner
    assert find_project(inner) == inner
    assert find_project(inner.parent / "outputs") == inner.parent
    monkeypatch.chdir(inner)
    assert find_project(Path("outputs")) == inner
    assert media_folder(inner).is_relative_to(inner)


def test_there_may_be_none(tmp_path: Path) -> None:
    (tmp_path / ".dvc").touch()  # a file makes no project
    assert find_project(tmp_path / "outputs") is None


def test_one_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "near" / ".dvc").mkdir(parents=True)
    monkeypatch.setenv("KINEFLOW_PROJECT", str(tmp_path / "named"))
    assert find_project(tmp_path / "near") == tmp_path / "named"
