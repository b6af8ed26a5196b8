import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.dvc.workspace_files import DVC_FILE
from components.frontend.by_dvc import run_by_dvc
from kineflow.tracking.run_variables import RUN_ID
from pipelines.dag.graph import graph_of
from pipelines.dag.params import load_params
from pipelines.dag.sources import ROOT
from pipelines.engines.dvc_stages import DIGESTS_FILE, dvc_files, output_path, write_dvc_files
from pipelines.engines.workspace import Workspace
from pipelines.project import make_project

STALE = "not what the recipe and the code say; run: kineflow compile d3d --to dvc"


def files(workspace: Workspace | None = None) -> dict[str, str]:
    return dvc_files("d3d", workspace or Workspace(ROOT, ROOT, ROOT / "params.yaml"))


def stages() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(files()[DVC_FILE])["stages"]
    return found


def test_the_committed_files_are_the_generated_ones() -> None:
    for name, text in files().items():
        assert (ROOT / name).read_text() == text, f"{name} is {STALE}"


@pytest.mark.slow
def test_a_stage_depends_on_its_inputs_its_parameters_and_its_code() -> None:
    teacher = stages()["teacher"]
    assert {"outputs/ingest/clips", "outputs/extract-flow/flow", "outputs/pretrain/flow"} <= set(teacher["deps"])
    assert teacher["params"] == [{DIGESTS_FILE: ["teacher"]}, {"params.yaml": ["seed", "teacher"]}]
    assert teacher["outs"] == ["outputs/teacher/model"]
    assert teacher["metrics"] == ["outputs/teacher/metrics.json"]
    assert set(yaml.safe_load(files()[DIGESTS_FILE])) == set(stages())


def test_the_source_of_the_videos_is_a_dependency_of_ingestion() -> None:
    assert "data" in stages()["ingest"]["deps"]


def test_a_gate_is_a_dependency_though_nothing_of_it_is_read() -> None:
    flow = stages()["extract-flow"]
    assert "outputs/validate/report.html" in flow["deps"]
    assert "report" not in flow["cmd"]


def test_an_input_of_several_is_one_argument() -> None:
    models = " ".join(f"outputs/{name}/model" for name in ("teacher", "plain", "distilled", "student"))
    assert f"--models {models} " in stages()["evaluate"]["cmd"]


def test_other_parameters_have_a_workspace_of_their_own() -> None:
    workspace = Workspace(ROOT, ROOT / "runs" / "d3d" / "mine", ROOT / "params.yaml")
    stage = yaml.safe_load(files(workspace)[DVC_FILE])["stages"]["ingest"]
    assert stage["wdir"] == "../../.."
    assert stage["outs"] == ["runs/d3d/mine/outputs/ingest/clips"]
    assert stage["params"][0] == {"runs/d3d/mine/digests.yaml": ["ingest"]}


def test_dvc_is_not_asked_for_a_section_that_is_left_out(tmp_path: Path) -> None:
    values = {"registration": {"name": "mine"}, "ingestion": {"source": "videos"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    text = files(Workspace(tmp_path, tmp_path, tmp_path / "params.yaml"))[DVC_FILE]
    stages = yaml.safe_load(text)["stages"]
    assert stages["validate"]["params"] == [{DIGESTS_FILE: ["validate"]}]
    assert stages["validate"]["cmd"].endswith("--params '{}'")
    assert stages["ingest"]["params"][1] == {"params.yaml": ["ingestion"]}
    assert stages["ingest"]["cmd"].endswith("--params params.yaml:ingestion --seed 0")


@pytest.mark.slow
def test_a_stage_that_dvc_runs_by_itself_knows_all_parameters_of_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(RUN_ID, raising=False)
    monkeypatch.setenv("DVC_STAGE", "train")
    monkeypatch.chdir(tmp_path)
    ingestion = {"source": "videos", "annotations": "clips.csv"}
    values = {"registration": {"name": "mine"}, "ingestion": ingestion, "student": {"frames": 8}}
    (tmp_path / "clips.csv").write_text("path,label\na.mp4,\n")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    workspace = Workspace(tmp_path, tmp_path, tmp_path / "params.yaml")
    write_dvc_files("d3d", workspace)

    made = run_by_dvc(workspace.outputs / "train", tmp_path)
    assert made is not None
    assert made.recipe == "d3d"
    assert made.params == load_params(graph_of("d3d"), workspace.params_file)
    again = run_by_dvc(workspace.outputs / "evaluate", tmp_path)
    assert again is not None
    assert again.id == made.id
    (tmp_path / "clips.csv").write_text("path,label\na.mp4,swipe\n")
    labelled = run_by_dvc(workspace.outputs / "train", tmp_path)
    assert labelled is not None
    assert labelled.id != made.id
    monkeypatch.setenv("DVC_EXP_NAME", "other-one")
    other = run_by_dvc(workspace.outputs / "train", tmp_path)
    assert other is not None
    assert other.id not in (made.id, labelled.id)
    monkeypatch.setenv(RUN_ID, "of-kineflow-run")
    assert run_by_dvc(workspace.outputs / "train", tmp_path) is None


ODD_NAMES = [
    "my run", "$(touch OOPS)", "`touch OOPS`", "it's", 'say "x"', "a;b&c|d", "a*?[b]", "{a,b}", "~", "#1", "-x", "a:b",
    "back\\slash", "%s", "ü", "$HOME",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_shell_takes_a_parameter_file_of_any_name_as_one_word(tmp_path: Path, name: str) -> None:
    shutil.copyfile(ROOT / "params.yaml", tmp_path / f"{name}.yaml")
    command = yaml.safe_load(files(Workspace.of("d3d", tmp_path / f"{name}.yaml", tmp_path))[DVC_FILE])["stages"][
        "plain"
    ]
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nshift 2\nfor word in "$@"; do printf \'%s\\n\' "$word"; done')
    python.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-c", command["cmd"]], cwd=tmp_path, env={"PATH": f"{tmp_path}:/bin:/usr/bin"}, stdout=-1, text=True
    )
    words = done.stdout.splitlines()
    given = dict(zip(words[::2], words[1::2], strict=True))
    assert all(flag.startswith("--") for flag in given)
    assert not any(value.startswith("-") for value in given.values())
    assert (tmp_path / given["--params"].removesuffix(":student")).is_file()
    assert given["--model"] == f"runs/d3d/{name}/outputs/plain/model"
    assert not (tmp_path / "OOPS").exists()


def test_what_dvc_is_given_stays_short() -> None:
    """A person reads it in a diff: each file of code stood there once, 531 of them."""
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) < 250
    assert Path(ROOT / DIGESTS_FILE).is_file()


@pytest.mark.slow
def test_after_a_clone_and_a_pull_nothing_is_to_be_done(tmp_path: Path) -> None:
    def dvc(folder: Path, *words: str) -> str:
        command = [sys.executable, "-m", "dvc", *words]
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout

    def git(*words: str) -> None:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", "-C", str(project), *identity, *words], check=True, capture_output=True)

    project, copy, remote = tmp_path / "project", tmp_path / "copy", tmp_path / "remote"
    make_project(project, "tsn")
    git("init", "-q")
    (project / "data").mkdir()
    (project / "data" / "video.mp4").touch()
    workspace = Workspace.of("tsn", project / "params.yaml", project)
    write_dvc_files("tsn", workspace)
    for task in graph_of("tsn").tasks:
        for output in task.outputs:
            path = output_path(workspace, task, output)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{{}} {task.name}")
    dvc(project, "add", "data")
    dvc(project, "commit", "--force")
    dvc(project, "remote", "add", "--default", "there", str(remote))
    dvc(project, "push")
    git("add", ".")
    git("commit", "-qm", "a run")
    git("clone", "-q", str(project), str(copy))
    dvc(copy, "pull")
    assert "up to date" in dvc(copy, "status")
