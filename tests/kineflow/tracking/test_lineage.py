import subprocess
from pathlib import Path

import pytest

from kineflow.storage.errors import KineflowError
from kineflow.tracking.lineage import data_md5, environment_tags, git_tags, lineage_tags, tree_digest, version_of_inputs

DATA_DVC = "outs:\n- md5: {}\n  size: 10\n  nfiles: 2\n  hash: md5\n  path: data\n"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KINEFLOW_DATA_VERSION", "KINEFLOW_GIT_COMMIT", "DVC_STAGE", "KFP_RUN_ID"):
        monkeypatch.delenv(name, raising=False)


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org")
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


class TestDataVersion:
    def test_is_the_hash_that_dvc_keeps(self, tmp_path: Path) -> None:
        (tmp_path / "data.dvc").write_text(DATA_DVC.format("0123456789abcdef0123456789abcdef.dir"))
        assert data_md5(tmp_path) == "0123456789abcdef0123456789abcdef.dir"

    def test_is_none_without_the_file(self, tmp_path: Path) -> None:
        assert data_md5(tmp_path) is None

    def test_comes_from_the_environment_on_a_cluster(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "data.dvc").write_text(DATA_DVC.format("a" * 32))
        monkeypatch.setenv("KINEFLOW_DATA_VERSION", "b" * 32)
        assert data_md5(tmp_path) == "b" * 32

    @pytest.mark.parametrize(
        ("source", "tracked"),
        [("data", True), ("data/part", True), ("other", False), ("data2", False), ("/elsewhere/data", False),
         ("s3://bucket/data", False), ("../data", False)],
    )  # fmt: skip
    def test_is_that_of_what_is_read_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, tracked: bool
    ) -> None:
        (tmp_path / "data.dvc").write_text(DATA_DVC.format("a" * 32))
        version = version_of_inputs(tmp_path, [source, ""])
        assert version == ("a" * 32 if tracked else "none")
        monkeypatch.setenv("KINEFLOW_DATA_VERSION", version)
        assert ("dvc.data.md5" in lineage_tags(tmp_path)) == tracked

    @pytest.mark.parametrize(
        ("lists", "tracked"), [("data/lists", True), ("clips.csv", False), ("s3://bucket/lists", False)]
    )
    def test_is_none_where_a_list_lies_beside_the_tracked_videos(
        self, tmp_path: Path, lists: str, tracked: bool
    ) -> None:
        (tmp_path / "data.dvc").write_text(DATA_DVC.format("a" * 32))
        assert version_of_inputs(tmp_path, ["data", lists]) == ("a" * 32 if tracked else "none")

    @pytest.mark.parametrize("content", ["outs: []\n", "outs:\n- path: data\n", "wdir: .\n"])
    def test_refuses_a_file_without_a_hash(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "data.dvc").write_text(content)
        with pytest.raises(KineflowError, match=r"data\.dvc"):
            data_md5(tmp_path)


class TestGit:
    def test_names_the_commit_and_whether_files_differ_from_it(self, tmp_path: Path) -> None:
        git(tmp_path, "init", "-q")
        (tmp_path / "a").write_text("1")
        git(tmp_path, "add", "a")
        git(tmp_path, "commit", "-qm", "one")
        commit = git(tmp_path, "rev-parse", "HEAD")
        assert git_tags(tmp_path) == {
            "git.commit": commit, "git.dirty": "false", "mlflow.source.git.commit": commit
        }  # fmt: skip
        (tmp_path / "a").write_text("2")
        assert git_tags(tmp_path)["git.dirty"] == "true"
        git(tmp_path, "commit", "-qam", "two")
        (tmp_path / "params.yaml").write_text("seed: 1")  # which the commit does not have
        assert git_tags(tmp_path)["git.dirty"] == "true"

    def test_what_runs_write_is_no_difference(self, tmp_path: Path) -> None:
        git(tmp_path, "init", "-q")
        project = tmp_path / "videos" / "project"  # deep in a repository, which has others
        other = tmp_path / "other" / "runs" / "tsn"
        for folder in (project, other):
            folder.mkdir(parents=True)
        (project / "dvc.lock").write_text("1")
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-qm", "one")
        of_a_seed = project / "runs" / "d3d" / "params+seed2" / "params.yaml"
        of_a_seed.parent.mkdir(parents=True)
        written = (project / "dvc.lock", project / "digests.yaml", other / "dvc.yaml", other / "dvc.lock", of_a_seed)
        for path in written:
            path.write_text("2")
        assert git_tags(project)["git.dirty"] == "false"
        (tmp_path / "code.py").write_text("2")
        assert git_tags(project)["git.dirty"] == "true"

    def test_says_nothing_without_a_repository(self, tmp_path: Path) -> None:
        assert git_tags(tmp_path) == {}

    def test_takes_the_image_s_word_without_a_repository(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KINEFLOW_GIT_COMMIT", "c" * 40)
        assert git_tags(tmp_path) == {"git.commit": "c" * 40}


def test_environment_names_versions_but_not_the_machine() -> None:
    import platform

    tags = environment_tags()
    assert tags["env.python"].startswith("3.")
    assert tags["env.mlflow"].startswith("3.")
    assert platform.node() not in tags.values()


class TestSourceDigest:
    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        for name in ("kineflow/a.py", "components/train.py", "kineflow/notes.txt", "tests/test_a.py"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("x = 1\n")
        return tmp_path

    @pytest.mark.parametrize("name", ["kineflow/a.py", "components/train.py"])
    def test_changes_with_any_source_file(self, source: Path, name: str) -> None:
        before = tree_digest(source)
        (source / name).write_text("x = 2\n")
        assert tree_digest(source) != before

    def test_changes_with_a_file_s_name(self, source: Path) -> None:
        before = tree_digest(source)
        (source / "kineflow/a.py").rename(source / "kineflow/b.py")
        assert tree_digest(source) != before

    @pytest.mark.parametrize("name", ["kineflow/notes.txt", "tests/test_a.py"])
    def test_does_not_change_with_other_files(self, source: Path, name: str) -> None:
        before = tree_digest(source)
        (source / name).write_text("y\n")
        assert tree_digest(source) == before

    def test_elsewhere_it_is_that_of_the_installed_source(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert tree_digest(tmp_path / "empty") == tree_digest(Path(__file__).resolve().parents[3])


def test_lineage_tags_hold_what_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data.dvc").write_text(DATA_DVC.format("a" * 32))
    monkeypatch.setenv("DVC_STAGE", "train@rgb")
    monkeypatch.setenv("KFP_RUN_ID", "")
    tags = lineage_tags(tmp_path)
    assert tags["dvc.data.md5"] == "a" * 32
    assert ("kineflow.commit" in tags) is (Path(__file__).resolve().parents[3] / ".git").exists()
    assert tags["dvc.stage"] == "train@rgb"
    assert tags["source.digest"] == tree_digest(tmp_path)
    assert "kfp.run_id" not in tags
    assert "git.commit" not in tags
