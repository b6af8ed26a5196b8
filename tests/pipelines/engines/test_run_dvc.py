"""What a run through DVC says, by a stand-in for DVC."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kineflow.storage.errors import KineflowError
from kineflow.storage.files import work_folder
from pipelines.engines import run_dvc as module
from pipelines.engines.run_dvc import run_dvc
from pipelines.engines.workspace import Workspace
from pipelines.project import make_project


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run the recipe with a DVC that prints some lines and ends with some code."""

    def start(*lines: str, code: int = 0) -> Any:
        script = tmp_path / "dvc.py"
        script.write_text(f"print({chr(10).join(lines)!r})\nraise SystemExit({code})\n")
        popen = module.subprocess.Popen
        monkeypatch.setattr(module, "write_dvc_files", lambda *_: tmp_path / "dvc.yaml")
        monkeypatch.setattr(
            module.subprocess, "Popen", lambda _, **options: popen([sys.executable, str(script)], **options)
        )
        (tmp_path / "params.yaml").write_text("{}")
        return run_dvc("d3d", tmp_path / "params.yaml", tmp_path)

    return start


def test_only_what_tells_something_is_shown(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run(
        "'data.dvc' didn't change, skipping",
        "\tgit add dvc.lock",
        "To enable auto staging, run:",
        "WARNING: Process 'dvc' with (Pid 9), in RWLock-file 'x' had been killed. Auto removed it from the lock file.",
        "Stage 'ingest' didn't change, skipping",
        "Stage 'runs/x/dvc.yaml:validate' is cached - skipping run, checking out outputs",
        "Running stage 'train':",
        "> python -m components.train --clips x",
        "step 1/2",
        "Updating lock file 'dvc.lock'",
        "Use `dvc push` to send your updates to remote storage.",
    )
    assert outcome.ran == ("train",)
    assert capsys.readouterr().out == (
        "── ingest: up to date\n── validate: restored from the cache\n\n── train\nstep 1/2\n"
    )


def failed(code: int) -> str:
    return f"ERROR: failed to reproduce 'train': failed to run: python -m components.train, exited with {code}"


@pytest.mark.parametrize("code", [2, 28])
def test_a_failed_step_ends_the_run_with_its_code(run: Any, capsys: pytest.CaptureFixture[str], code: int) -> None:
    with pytest.raises(KineflowError, match="the run stopped in train") as caught:
        run("Running stage 'train':", "error: its own message", failed(code), code=255)
    assert caught.value.exit_code == code
    assert capsys.readouterr().out == "\n── train\nerror: its own message\n"


@pytest.mark.parametrize("code", [-9, 137])  # 137 where DVC's shell stands between
def test_a_killed_step_is_said_to_be(run: Any, code: int) -> None:
    with pytest.raises(KineflowError, match="killed by signal 9") as caught:
        run("Running stage 'train':", failed(code), code=255)
    assert caught.value.exit_code == 137


def test_a_step_that_was_told_to_stop_took_no_memory(run: Any) -> None:
    with pytest.raises(KineflowError, match="told to by signal 15") as caught:
        run("Running stage 'train':", failed(143), code=255)
    assert caught.value.exit_code == 143
    assert "memory" not in str(caught.value)


def test_the_work_of_a_stage_is_kept_until_dvc_has_come_past_it(run: Any, tmp_path: Path) -> None:
    model, failing = (work_folder(tmp_path / "outputs" / task / "model") for task in ("plain", "teacher"))
    with pytest.raises(KineflowError, match="stopped in teacher"):
        run("Running stage 'plain':", "Running stage 'teacher':", failed(2), code=255)
    assert (model.exists(), failing.exists()) == (False, True)


def test_what_dvc_itself_fails_at_is_shown(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KineflowError, match="the run stopped in DVC") as caught:
        run("ERROR: 'dvc.lock' is corrupted.", code=255)
    assert "ERROR: 'dvc.lock' is corrupted." in capsys.readouterr().out
    assert "run the same again" not in str(caught.value)  # which would end in the same way


def test_a_disk_that_dvcs_cache_has_filled_is_said_once(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"ERROR: failed to transfer '{n}' - [Errno 28] No space left on device: 'a' -> 'b'" for n in range(9)]
    with pytest.raises(KineflowError, match="no space left on the disk") as caught:
        run("Running stage 'train':", *lines, "ERROR: failed to reproduce 'train': [Errno 28] No space", code=255)
    assert caught.value.exit_code == 28
    assert capsys.readouterr().out == "\n── train\n"


@pytest.mark.slow
def test_stages_of_any_parameter_file_can_be_versioned(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    make_project(tmp_path, "tsn")
    # DVC refuses a dvc.yaml that git ignores.
    stages = Workspace.of("tsn", tmp_path / "params" / "other.yaml", tmp_path).folder / "dvc.yaml"
    ignored = subprocess.run(["git", "check-ignore", "-q", str(stages)], cwd=tmp_path, check=False)
    assert ignored.returncode == 1
