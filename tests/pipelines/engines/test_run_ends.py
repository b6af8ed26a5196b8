"""However a run through DVC ends, its step ends with it and puts things away, and no process is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from kineflow.storage.locks import open_lock, take_lock
from pipelines.dag.sources import ROOT

pytestmark = pytest.mark.slow

STEP = """
import os, subprocess, sys, time
from pathlib import Path
from components.frontend.exits import exit_code
from components.frontend.lifeline import end_with_run

def work():
    helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    Path("helper.pid").write_text(str(helper.pid))
    Path("step.pid").write_text(str(os.getpid()))
    try:
        time.sleep(100)
    finally:
        Path("put_away").touch()
        helper.kill()
        helper.wait()

end_with_run()
sys.exit(exit_code(work))
"""
RUN = """
import sys
from pathlib import Path
from components.frontend.exits import exit_code
from pipelines.engines import run_dvc as module
module.write_dvc_files = lambda *_: Path("dvc.yaml").absolute()
sys.exit(exit_code(lambda: module.run_dvc("d3d", Path("params.yaml"), Path.cwd())))
"""


class Run:
    """A run of one step that would take long."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "SHELL": "/bin/sh"}
        environment.pop("KINEFLOW_PROJECT", None)
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        wait_for((folder / "step.pid").exists)
        self.step = int((folder / "step.pid").read_text() or 0)
        self.helper = int((folder / "helper.pid").read_text())
        (self.dvc,) = (each.pid for each in psutil.Process(self.process.pid).children())

    def end(self) -> tuple[int, str]:
        output, _ = self.process.communicate(timeout=60)
        return self.process.returncode, output

    def left(self) -> list[int]:
        return [pid for pid in (self.dvc, self.step, self.helper) if is_running(pid)]


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / "step.py").write_text(STEP)
    (tmp_path / "params.yaml").write_text("{}")
    stage = {"cmd": "python step.py", "deps": ["step.py"], "outs": ["out"]}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"step": stage}}))
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Iterator[Run]:
    started = Run(folder)
    yield started
    for pid in (started.process.pid, *started.left()):
        if is_running(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
def test_told_to_stop_it_stops_its_step_too(run: Run, number: signal.Signals) -> None:
    run.process.send_signal(number)  # to the run alone, as systemd or a scheduler may
    code, output = run.end()
    assert code == 128 + number
    assert output.count("interrupted") == 1
    assert (run.folder / "put_away").exists()
    assert run.left() == []


def test_where_it_is_killed_its_step_ends_by_itself(run: Run) -> None:
    run.process.kill()
    wait_for(lambda: not run.left())
    assert (run.folder / "put_away").exists()


def test_where_dvc_is_killed_the_message_says_so(run: Run) -> None:
    os.kill(run.dvc, signal.SIGKILL)
    code, output = run.end()
    assert "DVC itself was killed by signal 9 while step ran" in output
    assert code == 137
    assert (run.folder / "put_away").exists()
    assert run.left() == []


def test_where_the_step_is_killed_its_helpers_go_too(run: Run) -> None:
    os.kill(run.step, signal.SIGKILL)
    code, output = run.end()
    assert "the run stopped in step: it was killed by signal 9" in output
    assert code == 137
    assert run.left() == []


def test_all_killed_nothing_blocks_the_next_run(run: Run) -> None:
    os.killpg(run.process.pid, signal.SIGKILL)
    wait_for(lambda: not run.left())
    (run.folder / "step.py").write_text("open('out', 'w').close()")
    # As in a new container, the numbers of the dead may belong to others.
    rwlock = run.folder / ".dvc" / "tmp" / "rwlock"
    rwlock.write_text(rwlock.read_text().replace(str(run.dvc), str(os.getpid())))
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=run.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (run.folder / "out").exists()


def test_a_second_run_says_for_whom_it_waits(run: Run) -> None:
    second = subprocess.Popen(
        [sys.executable, "-c", RUN], cwd=run.folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE
    )
    try:
        assert second.stdout
        assert f"another run of this project: d3d, process {run.process.pid} on" in second.stdout.readline().decode()
    finally:
        second.kill()
        second.wait()


def test_a_finished_stage_is_kept_though_an_editor_holds_dvcs_lock(folder: Path) -> None:
    """DVC itself gives up after three seconds, and the next run does the stage again."""
    (folder / "step.py").write_text(
        "import os, time\nopen('out', 'w').close(); open('put_away', 'w').close()\n"
        "while not os.path.exists('locked'): time.sleep(0.05)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", RUN], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE
    )
    wait_for((folder / "put_away").exists)
    lock = open_lock(folder / ".dvc" / "tmp" / "lock")
    wait_for(lambda: is_taken(lock))
    (folder / "locked").touch()
    assert process.stdout
    assert any(b"waiting for another DVC command" in line for line in process.stdout)
    time.sleep(3)
    os.close(lock)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert "out" in (folder / "dvc.lock").read_text()


def is_taken(lock: int) -> bool:
    try:
        return take_lock(lock)
    except BlockingIOError:
        return False
