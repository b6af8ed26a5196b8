"""What is checked before anything is sent: every fault is told, all at once, and nothing reaches the server."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kineflow.storage.errors import KineflowError
from pipelines.cluster import data_version
from pipelines.preflight import check_run
from pipelines.submission import checks
from pipelines.submission.access import Access
from pipelines.submission.checks import check_all
from pipelines.submission.server import Server
from tests.pipelines.submission.conftest import CLUSTER, ROOT, Ended
from tests.pipelines.submission.kfp_server import KfpServer

ParamsFile = Callable[..., Path]
REMOTE = "s3://bucket/dvc"


def git(root: Path, *words: str) -> None:
    author = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(root), *author, *words], check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with everything committed."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "code.py").write_text("one = 1\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    return root


def check(kfp: KfpServer, file: Path, root: Path, **rest: Any) -> checks.Package:
    return check_all("d3d", file, root, lambda: Server(Access(kfp.url, kfp.url)), **rest)[0]


def nothing_sent(kfp: KfpServer) -> bool:
    return all(request.method == "GET" for request in kfp.requests)


def test_a_clean_tree_is_named_by_its_commit(kfp: KfpServer, params: ParamsFile, project: Path) -> None:
    package = check(kfp, params(), project)
    assert len(package.commit or "") == 40
    assert not package.dirty
    assert package.data is None
    assert package.image == CLUSTER["image"]


def test_a_changed_file_is_refused_and_allowed_on_demand(kfp: KfpServer, params: ParamsFile, project: Path) -> None:
    (project / "code.py").write_text("one = 2\n")
    with pytest.raises(KineflowError, match="differ from the last commit") as refused:
        check(kfp, params(), project)
    assert "--allow-dirty" in (refused.value.remedy or "")
    assert check(kfp, params(), project, allow_dirty=True).dirty


def test_a_folder_outside_git_is_refused_and_allowed_on_demand(
    kfp: KfpServer, params: ParamsFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KINEFLOW_GIT_COMMIT", raising=False)
    root = tmp_path / "elsewhere"
    root.mkdir()
    with pytest.raises(KineflowError, match="no git repository"):
        check(kfp, params(), root)
    assert check(kfp, params(), root, allow_dirty=True).commit is None


@pytest.fixture
def no_common_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No params.yaml whose section cluster holds for files without one."""
    monkeypatch.setenv("KINEFLOW_PROJECT", str(tmp_path / "nowhere"))


def test_no_cluster_section_is_a_fault_of_its_own(
    kfp: KfpServer, params: ParamsFile, project: Path, no_common_section: None
) -> None:
    with pytest.raises(KineflowError, match="no section 'cluster'") as refused:
        check(kfp, params(cluster=None), project)
    assert "docs/cluster.md" in (refused.value.remedy or "")


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        ({**CLUSTER, "image": "registry.example.com/kineflow:latest"}, "by its digest"),
        ({**CLUSTER, "image": ""}, "no image is named"),
        ({**CLUSTER, "flow_shards": 0}, "flow_shards"),
        ({"image": CLUSTER["image"]}, "volume"),
        ({**CLUSTER, "steps": {"trian": {"gpus": 1}}}, "trian"),
        ({**CLUSTER, "shards": 3}, "shards"),
        ("none", "cluster"),
    ],
    ids=["image by tag", "no image", "no shards", "no volume", "unknown step", "unknown key", "no mapping"],
)
def test_a_faulty_cluster_section_is_refused(
    kfp: KfpServer, params: ParamsFile, project: Path, cluster: Any, message: str
) -> None:
    with pytest.raises(KineflowError) as refused:
        check(kfp, params(cluster=cluster), project)
    assert message in str(refused.value)
    assert nothing_sent(kfp)


def test_all_faults_come_in_one_message(
    kfp: KfpServer, params: ParamsFile, project: Path, no_common_section: None
) -> None:
    kfp.multi_user = True
    (project / "code.py").write_text("one = 2\n")
    with pytest.raises(KineflowError) as refused:
        check(kfp, params(cluster=None, seed="seven"), project)
    message = str(refused.value)
    assert message.startswith("4 things are wrong:")
    for fault in ("seed: int is expected", "no section 'cluster'", "differ from the last commit", "serves many users"):
        assert message.count(fault) == 1
    assert "nothing has been sent" in message
    assert nothing_sent(kfp)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "seed"),
        ({"sede": 1}, "unknown section"),
        ({"flow": {"bound_px": "wide"}}, "bound_px"),
    ],
    ids=["out of range", "unknown", "wrong type"],
)
def test_parameters_are_checked_against_the_recipe(
    kfp: KfpServer, params: ParamsFile, project: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(KineflowError) as refused:
        check(kfp, params(**changes), project)
    assert message in str(refused.value)
    assert nothing_sent(kfp)


def test_a_missing_file_is_told_once(kfp: KfpServer, project: Path, tmp_path: Path) -> None:
    with pytest.raises(KineflowError) as refused:
        check(kfp, tmp_path / "none.yaml", project)
    assert str(refused.value).count("none.yaml") == 1


def test_a_folder_of_this_machine_is_refused(kfp: KfpServer, params: ParamsFile, project: Path) -> None:
    content = yaml.safe_load(params().read_text())["ingestion"] | {"source": "/home/anna/videos"}
    with pytest.raises(KineflowError, match="/home/anna/videos"):
        check(kfp, params(ingestion=content), project)


@pytest.fixture
def with_data(project: Path, tmp_path: Path) -> Path:
    """The project, with data, and DVC set up to keep them in a folder."""
    (project / "data").mkdir()
    (project / "data" / "clip.txt").write_text("video")
    (project / ".dvc").mkdir()
    remote = tmp_path / "remote"
    (project / ".dvc" / "config").write_text(f"[core]\n    remote = store\n['remote \"store\"']\n    url = {remote}\n")
    return project


def from_data(params: ParamsFile) -> Path:
    return params(ingestion=yaml.safe_load(params().read_text())["ingestion"] | {"source": "data"})


@pytest.mark.slow
def test_data_must_be_pushed_and_then_go_into_the_package(kfp: KfpServer, params: ParamsFile, with_data: Path) -> None:
    from components.dvc.dvc_command import run_dvc_command

    run_dvc_command(["add", "--quiet", "data"], with_data)
    git(with_data, "add", ".")
    git(with_data, "commit", "-q", "-m", "data")
    with pytest.raises(KineflowError, match="not pushed") as refused:
        check(kfp, from_data(params), with_data)
    assert "dvc push" in str(refused.value)
    assert nothing_sent(kfp)

    run_dvc_command(["push", "--quiet"], with_data)
    package = check(kfp, from_data(params), with_data)
    (tracked,) = yaml.safe_load((with_data / "data.dvc").read_text())["outs"]
    assert package.data is not None
    assert package.data.md5 == tracked["md5"]
    assert f"/cache/data/{tracked['md5'].removesuffix('.dir')}" in package.text


def test_what_can_be_known_of_weights_is_told_before_anything_is_sent(
    kfp: KfpServer, params: ParamsFile, project: Path
) -> None:
    def looked(sha256: str) -> checks.Package:
        weights = {"checkpoint": "/cache/weights.pth", "sha256": sha256}
        file = params(network={**weights, "rgb_mean": [1, 2, 3], "rgb_std": [1, 2, 3]})
        return check(kfp, file, project, look=lambda: check_run("d3d", file, project, where="cluster").notices)

    with pytest.raises(KineflowError, match=r"network.sha256: a placeholder"):
        looked("0" * 64)
    assert any("volume" in notice for notice in looked("12" * 32).notices)
    assert nothing_sent(kfp)


def test_data_are_asked_about_only_where_the_run_reads_them(
    kfp: KfpServer, params: ParamsFile, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(root: Path) -> None:
        raise KineflowError("the data are not pushed", where=root)

    version = data_version.DataVersion(f"{'0' * 32}.dir", REMOTE)
    monkeypatch.setattr(data_version, "read_data_version", lambda root: version)
    monkeypatch.setattr(data_version, "check_pushed", refuse)
    assert check(kfp, params(), project).data is None
    with pytest.raises(KineflowError, match="not pushed"):
        check(kfp, from_data(params), project)
    monkeypatch.setattr(data_version, "check_pushed", lambda root: None)
    assert check(kfp, from_data(params), project).data == version


def test_data_that_dvc_does_not_know_are_refused(kfp: KfpServer, params: ParamsFile, project: Path) -> None:
    with pytest.raises(KineflowError, match="not tracked by DVC"):
        check(kfp, from_data(params), project)
    assert nothing_sent(kfp)


def test_the_command_refuses_and_sends_nothing(
    kfp: KfpServer, submit: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "git_tags", lambda root: {"git.commit": "a" * 40, "git.dirty": "true"})
    ended = submit("--json")
    assert ended.code == 2
    assert ended.out == ""
    assert "--allow-dirty" in ended.err
    assert nothing_sent(kfp)
    allowed = submit("--json", "--allow-dirty")
    assert allowed.json["version"].startswith("aaaaaaaa-dirty-")


def test_the_demos_own_parameters_lack_an_image_and_nothing_else(
    kfp: KfpServer, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = data_version.DataVersion(f"{'0' * 32}.dir", REMOTE)
    monkeypatch.setattr(data_version, "read_data_version", lambda root: version)
    monkeypatch.setattr(data_version, "check_pushed", lambda root: None)
    demo = ROOT / "params.yaml"
    with pytest.raises(KineflowError) as refused:
        check(kfp, demo, project)
    assert str(refused.value).startswith(f"{demo}: no image is named")
    assert check(kfp, demo, project, image=CLUSTER["image"]).image == CLUSTER["image"]
