"""Following a run to its end: what is shown, and with which code the command ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from pipelines.submission import follow, runs
from pipelines.submission.access import Access
from pipelines.submission.server import Server
from pipelines.submission.states import RunState
from tests.deploy.kubeflow.excerpts import excerpt
from tests.pipelines.submission.conftest import ROOT, Ended
from tests.pipelines.submission.kfp_server import Fault, KfpServer, tasks

Submit = Callable[..., Ended]
Cli = Callable[..., Ended]


def look(state: str, **steps: str) -> dict[str, Any]:
    return {"state": state, **tasks(**steps)}


def failing(message: str = "no space left on device") -> dict[str, Any]:
    seen = look("FAILED", ingest="SUCCEEDED", train="FAILED")
    (failed,) = [t for t in seen["run_details"]["task_details"] if t["display_name"] == "train"]
    failed["error"] = {"code": 2, "message": message}
    return seen


def test_a_run_that_succeeds_ends_with_code_0(kfp: KfpServer, submit: Submit) -> None:
    kfp.script = [
        look("RUNNING"),
        look("RUNNING", ingest="RUNNING"),
        look("RUNNING", ingest="SUCCEEDED", train="RUNNING"),
        look("SUCCEEDED", ingest="SUCCEEDED", train="SUCCEEDED"),
    ]
    ended = submit("--watch")
    assert ended.code == 0, ended.err
    lines = [line for line in ended.out.splitlines() if not line.startswith("note: ")]
    shown = [line.partition("  ")[2] for line in lines[3:]]
    assert shown == [
        "run: running", "ingest: running", "ingest: succeeded",
        "teacher: running", "teacher: succeeded", "run: succeeded",
    ]  # fmt: skip


def test_a_run_that_fails_ends_with_code_1_and_its_failed_steps(kfp: KfpServer, submit: Submit) -> None:
    kfp.script = [look("RUNNING", ingest="RUNNING"), failing()]
    ended = submit("--watch")
    (run_id,) = kfp.runs
    assert ended.code == 1
    assert "teacher: failed\n    no space left on device" in ended.out
    assert f"kineflow runs logs {run_id} teacher" in ended.out
    assert "ingest: failed" not in ended.out


def test_a_run_that_is_cancelled_elsewhere_ends_with_code_3(kfp: KfpServer, submit: Submit) -> None:
    kfp.script = [look("RUNNING", ingest="RUNNING"), look("CANCELING", ingest="CANCELING")]
    ended = submit("--watch")
    assert ended.code == 3
    assert "run: being cancelled" in ended.out
    assert ended.out.rstrip().endswith("run: cancelled")


def test_kubeflow_never_says_that_a_run_was_cancelled() -> None:
    said = "".join(map(excerpt, ("terminate", "reported_state", "terminating", "state_history")))
    assert "RuntimeStateCancelling.ToString()" in said
    assert "RunTerminatingConditions" in said
    assert "RuntimeStateCanceled" not in said


def test_a_cancelled_run_that_the_servers_history_does_not_tell_is_told_by_who_saw_it(
    kfp: KfpServer, submit: Submit
) -> None:
    kfp.fail("GET", "/runs/{run_id}", Fault(body=b'{"state": "CANCELING"}'), Fault(body=b'{"state": "FAILED"}'))
    ended = submit("--watch", "--json")
    assert (ended.code, ended.json["state"]) == (3, "CANCELED")


def test_a_run_that_was_cancelled_and_tried_again_can_fail(kfp: KfpServer, submit: Submit) -> None:
    history = [{"state": state} for state in ("RUNNING", "CANCELING", "FAILED", "RUNNING", "FAILED")]
    kfp.script = [failing() | {"state_history": history}]
    assert submit("--watch").code == 1


@pytest.mark.parametrize("state", ["PAUSED", "A_STATE_OF_NEXT_YEAR", "RUNTIME_STATE_UNSPECIFIED"])
def test_other_states_are_waited_through(kfp: KfpServer, submit: Submit, state: str) -> None:
    kfp.script = [look("PAUSED" if state == "PAUSED" else "RUNTIME_STATE_UNSPECIFIED"), look("SUCCEEDED")]
    if state.startswith("A_STATE"):
        kfp.script[0]["state"] = "RUNTIME_STATE_UNSPECIFIED"
        kfp.fail("GET", "/runs/{run_id}", Fault(body=b'{"state": "A_STATE_OF_NEXT_YEAR"}'))
    assert submit("--watch").code == 0


def test_a_skipped_run_has_nothing_to_complain_of(kfp: KfpServer, submit: Submit) -> None:
    kfp.script = [look("SKIPPED")]
    assert submit("--watch").code == 0


def test_following_outlives_a_server_that_goes_away_for_a_while(kfp: KfpServer, submit: Submit) -> None:
    kfp.script = [look("RUNNING"), look("RUNNING"), look("SUCCEEDED")]
    bad = [Fault(status=503), Fault(cut="silent"), Fault(status=500), Fault(cut="middle"), Fault(status=504)]
    kfp.fail("GET", "/runs/{run_id}", *bad)
    ended = submit("--watch")
    assert ended.code == 0
    assert ended.out.count("trying again") == len(bad)


def test_a_server_out_of_sight_ends_with_code_4_and_leaves_the_run(
    kfp: KfpServer, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "FOLLOW_PATIENCE_SEC", 0.1)
    kfp.fail("GET", "/runs/{run_id}", *[Fault(status=503)] * 50)
    ended = submit("--watch")
    assert ended.code == 4
    assert kfp.asked("POST", ":terminate") == []


def test_json_after_watching_holds_the_end_and_every_step(kfp: KfpServer, submit: Submit) -> None:
    kfp.script = [failing()]
    ended = submit("--watch", "--json")
    assert ended.code == 1
    assert ended.json["state"] == "FAILED"
    steps = {step["name"]: step for step in ended.json["steps"]}
    assert steps["teacher"] == {
        "name": "teacher", "task": "train", "state": "FAILED", "parts": 1, "done": 0,
        "message": "no space left on device",
    }  # fmt: skip
    assert steps["plain"]["state"] == "PENDING"


@pytest.mark.slow
def test_a_run_can_be_followed_later_and_is_told_by_the_recipes_names(kfp: KfpServer, submit: Submit, cli: Cli) -> None:
    kfp.script = [look("RUNNING", train="RUNNING"), look("SUCCEEDED", train="SUCCEEDED")]
    run_id = submit("--json").json["run_id"]
    ended = cli("runs", "watch", run_id, "--host", kfp.url)
    assert ended.code == 0, ended.err
    assert "teacher: succeeded" in ended.out


def test_a_message_can_hold_anything(kfp: KfpServer, submit: Submit) -> None:
    kfp.script = [failing("[bold]see [/nowhere]\n" + "\n".join(map(str, range(100))))]
    ended = submit("--watch")
    assert ended.code == 1
    assert "    99" in ended.out


def test_ctrl_c_stops_following_and_not_the_run(
    kfp: KfpServer, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    kfp.script = [look("RUNNING")] * 100

    def press(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(follow, "time", SimpleNamespace(sleep=press))
    ended = submit("--watch")
    (run_id,) = kfp.runs
    assert ended.code == 130
    assert f"kineflow runs watch {run_id}" in ended.err
    assert f"kineflow runs cancel {run_id}" in ended.err
    assert kfp.asked("POST", ":terminate") == []


def test_a_terminal_is_shown_one_table_that_changes(kfp: KfpServer, submit: Submit) -> None:
    kfp.script = [look("RUNNING", train="RUNNING"), look("SUCCEEDED", train="SUCCEEDED")]
    run_id = submit("--json").json["run_id"]
    console = Console(force_terminal=True, width=80, record=True)
    with follow.view_on(console) as view:
        ended = follow.follow(Server(Access(kfp.url, kfp.url)), run_id, {"train": "teacher"}, view)
    assert ended["state"] == RunState.SUCCEEDED
    assert console.export_text().endswith("teacher  succeeded\nrun      succeeded\n")


def test_steps_of_a_deleted_package_are_told_as_kfp_names_them(kfp: KfpServer, submit: Submit, cli: Cli) -> None:
    kfp.script = [look("SUCCEEDED", ingest="SUCCEEDED")]
    run_id = submit("--json").json["run_id"]
    kfp.versions.clear()
    ended = cli("runs", "watch", run_id, "--host", kfp.url, "--json")
    assert ended.code == 0, ended.err
    assert [step["name"] for step in ended.json["steps"] if step["name"] != "d3d-x7k2p"] == ["ingest"]


_COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests started in the background would hand down "ignore"
from pipelines.cli import main
main()
"""


@pytest.mark.slow
def test_the_command_itself_follows_a_run_and_is_interrupted(kfp: KfpServer, submit: Submit) -> None:
    kfp.script = [look("RUNNING", ingest="RUNNING")] * 10_000
    run_id = submit("--json").json["run_id"]
    words = [sys.executable, "-c", _COMMAND, "runs", "watch", run_id, "--host", kfp.url, "--json"]
    how: dict[str, Any] = {"cwd": ROOT, "env": {**os.environ, "PYTHONPATH": str(ROOT)}, "text": True}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how)
    try:
        assert process.stderr is not None
        while "run: running" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert f"kineflow runs watch {run_id}" in err
    assert out == ""
    runs.cancel_run(Server(Access(kfp.url, kfp.url)), run_id)
    done = subprocess.run(words, capture_output=True, **how)
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout)["state"] == "CANCELED"
