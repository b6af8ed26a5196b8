"""The version of the data, and whether it can be fetched, as DVC itself tells."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from components.dvc.dvc_command import run_dvc_command
from kineflow.storage.errors import KineflowError
from pipelines.cluster.data_version import DataVersion, check_pushed, read_data_version

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose data are tracked, with two remotes and nothing pushed."""
    project = tmp_path_factory.mktemp("tracked") / "project"
    for number in range(3):
        (project / "data" / "videos").mkdir(parents=True, exist_ok=True)
        (project / "data" / "videos" / f"{number}.mp4").write_text(str(number))
    run_dvc_command(["init", "--no-scm"], project)
    run_dvc_command(["remote", "add", "--default", "store", str(project.parent / "store")], project)
    run_dvc_command(["remote", "add", "team", "s3://team-bucket/dvc"], project)
    run_dvc_command(["add", "data"], project)
    return project


@pytest.fixture
def project(tracked: Path, tmp_path: Path) -> Path:
    """One to change."""
    shutil.copytree(tracked.parent, tmp_path / "copy", symlinks=True)
    project = tmp_path / "copy" / "project"
    reconfigure(project, str(tracked.parent / "store"), str(tmp_path / "copy" / "store"))
    return project


def reconfigure(project: Path, before: str, after: str) -> None:
    """Change DVC's settings without starting DVC."""
    config = project / ".dvc" / "config"
    assert before in config.read_text()
    config.write_text(config.read_text().replace(before, after))


def md5_of(project: Path) -> str:
    return (project / "data.dvc").read_text().split("md5: ")[1].split()[0]


def test_the_version_is_datas_hash_and_the_default_remote(project: Path) -> None:
    assert read_data_version(project) == DataVersion(md5_of(project), str(project.parent / "store"))

    (project / ".dvc" / "config.local").write_text("[core]\n    remote = team\n")  # comes first, as in DVC

    assert read_data_version(project) == DataVersion(md5_of(project), "s3://team-bucket/dvc")
    assert md5_of(project).endswith(".dir")


def test_secrets_in_dvcs_settings_stay_there(project: Path) -> None:
    reconfigure(project, "remote = store", "remote = team")
    secret = "['remote \"team\"']\n    secret_access_key = planted-7f3a\n"
    (project / ".dvc" / "config.local").write_text(secret)

    assert "planted-7f3a" not in repr(read_data_version(project))


def test_a_url_with_credentials_is_refused_and_not_repeated(project: Path) -> None:
    reconfigure(project, f"url = {project.parent / 'store'}", "url = https://ann:planted-7f3a@host/dvc")
    with pytest.raises(KineflowError, match="carries credentials") as raised:
        read_data_version(project)
    assert "planted-7f3a" not in str(raised.value)


def test_what_is_missing_is_said(project: Path) -> None:
    reconfigure(project, "remote = store", "")
    for question in (read_data_version, check_pushed):
        with pytest.raises(KineflowError, match="no default remote"):
            question(project)
    (project / "data.dvc").write_text("outs: []\n")
    with pytest.raises(KineflowError, match="no output with an md5"):
        read_data_version(project)
    (project / "data.dvc").unlink()
    with pytest.raises(KineflowError, match="not tracked by DVC"):
        read_data_version(project)


def test_a_folder_that_is_no_repository_is_named(tmp_path: Path) -> None:
    (tmp_path / "data.dvc").write_text(f"outs:\n- md5: {'0' * 32}.dir\n  path: data\n")
    with pytest.raises(KineflowError, match="no default remote"):
        read_data_version(tmp_path)


def test_data_count_as_pushed_once_the_remote_has_every_file(project: Path) -> None:
    with pytest.raises(KineflowError, match=r"lacks 3 of their files: data/videos/0\.mp4") as raised:
        check_pushed(project)
    assert "dvc push" in str(raised.value)

    run_dvc_command(["push"], project)
    check_pushed(project)

    (project / "data" / "videos" / "new.mp4").write_text("new")
    run_dvc_command(["add", "data"], project)
    with pytest.raises(KineflowError, match=r"lacks 1 of their files: data/videos/new\.mp4"):
        check_pushed(project)


def test_a_file_that_the_remote_lost_is_missed_by_a_machine_without_the_data(project: Path) -> None:
    run_dvc_command(["push"], project)
    store = project.parent / "store"
    next(path for path in store.rglob("*") if path.is_file() and path.suffix != ".dir").unlink()
    for copy in (project / "data", project / ".dvc" / "cache", project / ".dvc" / "tmp"):
        shutil.rmtree(copy, ignore_errors=True)

    with pytest.raises(KineflowError, match="not pushed"):
        check_pushed(project)

    shutil.rmtree(store)
    shutil.rmtree(project / ".dvc" / "cache", ignore_errors=True)
    with pytest.raises(KineflowError, match="not pushed"):
        check_pushed(project)
