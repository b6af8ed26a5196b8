"""What the container of a step may see and do."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from pipelines.engines.container_settings import (
    Mount,
    named_files,
    needs_network,
    open_to_group,
    run_settings,
    step_mounts,
    step_user,
    step_variables,
    store_files,
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("data", "mlartifacts/d3d/run", "outputs/docker", ".git"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("mlflow.db", "mlflow.db-journal", "mlflow.db.lock", "params.yaml"):
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("data")
    return tmp_path


def test_only_the_store_can_be_written_to_in_its_folder(project: Path) -> None:
    mounts = {mount.target: mount for mount in step_mounts([], project / "mlflow.db")}
    assert not mounts.pop(project).read_only
    assert {path.name for path in mounts} == {"data", "outputs", ".git", "params.yaml"}
    assert all(mount.read_only for mount in mounts.values())


def test_media_are_added_to_where_they_lie(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    disk = tmp_path_factory.mktemp("disk")
    (project / "media").symlink_to(disk)
    mounts = step_mounts([project / "data"], project / "mlflow.db", project / "media")
    assert [mount for mount in mounts if mount.target == project / "media"] == [
        Mount(disk, project / "media", read_only=False)
    ]
    (project / "media").unlink()
    (project / "media").mkdir()
    mounts = step_mounts([], project / "mlflow.db", project / "media")
    assert [mount.read_only for mount in mounts if mount.target == project / "media"] == [False]


def test_data_are_read_only_and_mounted_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    mounts = step_mounts([Path("data"), project / "data"], project / "mlflow.db")
    assert [mount.read_only for mount in mounts if mount.target == project / "data"] == [True]


def test_data_behind_a_link_lie_where_the_parameters_say(project: Path) -> None:
    assert step_mounts([project / "link"], None) == [Mount((project / "data").resolve(), project / "link")]


def test_a_checkpoint_of_several_files_is_seen_whole(project: Path) -> None:
    names = ["[a].ckpt.index", "[a].ckpt.data-00000-of-00002", "[a].ckpt.data-00001-of-00002"]
    for name in (*names, "other.ckpt.data-00000-of-00001"):
        (project / "data" / name).touch()
    seen = [mount.target.name for mount in step_mounts([project / "data" / names[0]], None)]
    assert seen == names


def test_with_a_server_for_tracking_nothing_but_data_is_seen(project: Path) -> None:
    assert [mount.target for mount in step_mounts([project / "data"], None)] == [project / "data"]


def test_what_a_store_is_made_of(project: Path) -> None:
    names = {path.relative_to(project).as_posix() for path in store_files(project / "mlflow.db")}
    assert names == {
        ".", "mlflow.db", "mlflow.db-journal", "mlflow.db.lock", "mlartifacts", "mlartifacts/d3d", "mlartifacts/d3d/run"
    }  # fmt: skip


@pytest.mark.parametrize(("before", "after"), [(0o700, 0o770), (0o755, 0o775), (0o644, 0o664), (0o555, 0o555)])
def test_the_group_may_do_what_the_owner_may(tmp_path: Path, before: int, after: int) -> None:
    file = tmp_path / "file"
    file.touch()
    file.chmod(before)
    open_to_group([file])
    assert stat.S_IMODE(file.stat().st_mode) == after


@pytest.mark.parametrize(("uid", "user"), [(0, "10001:0"), (1000, "1000:1000")], ids=["root", "anybody"])
def test_no_step_is_root(uid: int, user: str) -> None:
    assert step_user(uid, uid) == user


def test_the_images_user_is_the_dockerfiles() -> None:
    dockerfile = (Path(__file__).resolve().parents[3] / "Dockerfile").read_text()
    user = step_user(0, 0).partition(":")[0]
    assert f"USER {user}:" in dockerfile


@pytest.mark.parametrize(
    ("params", "uri", "needed"),
    [
        ({"ingestion": {"source": "data"}}, "sqlite:////work/mlflow.db", False),
        ({"ingestion": {"source": "s3://bucket/videos"}}, "sqlite:////work/mlflow.db", True),
        ({"evaluation": {"imported": [{"path": "https://example.org/scores.csv"}]}}, "sqlite:////work/mlflow.db", True),
        ({"ingestion": {"source": "data"}}, "http://127.0.0.1:5000", True),
        ({"ingestion": {"source": "data"}}, "postgresql://mlflow@db/mlflow", True),
    ],
    ids=["local", "data on S3", "scores by URL", "tracking server", "tracking database"],
)
def test_a_network_is_given_where_one_is_needed(params: dict[str, Any], uri: str, needed: bool) -> None:
    assert needs_network(params, uri) is needed


def test_credentials_stay_out_of_containers_without_a_network() -> None:
    environment = {"AWS_SECRET_ACCESS_KEY": "secret", "KINEFLOW_RUN_ID": "1", "HOME": "/home/me", "PYTHONPATH": "/x"}
    assert step_variables(environment, with_network=False) == {"KINEFLOW_RUN_ID": "1"}
    assert set(step_variables(environment, with_network=True)) == {"KINEFLOW_RUN_ID", "AWS_SECRET_ACCESS_KEY"}


def test_every_container_is_without_rights() -> None:
    settings = run_settings({}, network="none", user="1000:1000", folder=Path("/work"))
    assert settings["read_only"]
    assert settings["cap_drop"] == ["ALL"]
    assert settings["security_opt"] == ["no-new-privileges"]
    assert "privileged" not in settings


def test_the_folder_of_weights_is_seen_by_containers(tmp_path: Path) -> None:
    (tmp_path / "certificates.pem").touch()
    variables = {"SSL_CERT_FILE": str(tmp_path / "certificates.pem"), "KINEFLOW_WEIGHTS": str(tmp_path), "HOME": "/tmp"}
    assert named_files(variables) == [tmp_path / "certificates.pem", tmp_path]
    assert named_files({"KINEFLOW_WEIGHTS": str(tmp_path / "absent")}) == []
