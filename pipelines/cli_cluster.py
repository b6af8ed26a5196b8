"""What ``kineflow submit`` and the commands below ``kineflow runs`` share: options, and how they answer.

Exit codes where a run is followed: 0 it succeeded, 1 it failed, 3 it was cancelled; 2 a mistake, 4 the server stayed
out of sight, 130 Ctrl-C (the run goes on in the last two).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from components.frontend.exits import exit_code

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.submission.server import Server

Host = Annotated[
    str | None, typer.Option(help="Address of Kubeflow Pipelines; by default KF_PIPELINES_ENDPOINT.", metavar="URL")
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        help="File with the bearer token; by default KF_PIPELINES_TOKEN_PATH, what KF_PIPELINES_TOKEN holds, or a "
        "notebook's own.",
        metavar="FILE",
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(help="Certificates to trust; by default SSL_CERT_FILE, or the usual ones.", metavar="FILE"),
]
Namespace = Annotated[str | None, typer.Option(help="Yours, where the installation serves many users.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, all else on standard error.")]


def connect(
    host: str | None, token_file: Path | None, ca_file: Path | None, namespace: str | None, console: Console
) -> Server:
    """The server that the options and the environment name.

    Raises:
        KineflowError: They name none, or nothing that can be used.
    """
    from pipelines.submission.access import Access
    from pipelines.submission.server import Server

    access = Access.find(host, token_file=token_file, ca_file=ca_file, namespace=namespace, environment=os.environ)
    return Server(access, on_retry=lambda line: say_on(console, line))


def followed(server: Server, run_id: str, names: Mapping[str, str], console: Console) -> tuple[dict[str, Any], int]:
    """Follow a run to its end.

    Returns:
        What ``--json`` says of the end, and the exit code.
    """
    from pipelines.submission import follow
    from pipelines.submission.states import EXIT_CODES, RunState, state_of
    from pipelines.submission.steps import failures, step_states

    with follow.view_on(console) as view:
        run = follow.follow(server.with_patience(follow.FOLLOW_PATIENCE_SEC, view.note), run_id, names, view)
    state, steps = state_of(run), step_states(run, names)
    why = str((run.get("error") or {}).get("message", ""))
    if state is RunState.FAILED:
        say_on(console, f"\nrun {run_id} failed" + indented(why))
        for failed in failures(steps):
            say_on(console, f"{failed.name}: failed" + indented(failed.message))
            say_on(console, f"  → kineflow runs logs {run_id} {failed.name}")
    ended = {"state": state.value, "steps": [step_json(step) for step in steps]}
    return ended | ({"error": why} if why else {}), EXIT_CODES[state]


def brief(server: Server, run: Mapping[str, Any]) -> dict[str, Any]:
    """What ``--json`` says of a run."""
    from pipelines.submission.states import state_of

    copied = ("display_name", "experiment_id", "created_at", "finished_at")
    return {
        "run_id": run["run_id"],
        "url": server.access.run_page(str(run["run_id"])),
        "state": state_of(run).value,
        **{"name" if key == "display_name" else key: run[key] for key in copied if run.get(key)},
    }


def step_json(step: Any) -> dict[str, Any]:
    """What ``--json`` says of a step."""
    row = {"name": step.name, "task": step.key, "state": step.state.value, "parts": step.parts, "done": step.done}
    return row | ({"message": step.message} if step.message else {})


def indented(text: str) -> str:
    """Lines to come below another one."""
    return "".join(f"\n    {line}" for line in text.splitlines())


def console_for(as_json: bool) -> Console:
    """Where people are told things: standard error when standard output is for a program."""
    from rich.console import Console

    return Console(stderr=as_json, soft_wrap=True, highlight=False)


def say_on(console: Console, text: str) -> None:
    """Print a line as it is."""
    console.print(text, soft_wrap=True, highlight=False, markup=False)


def answer_json(as_json: bool, content: Mapping[str, Any]) -> None:
    """Print the answer for a program, where one asks."""
    if as_json:
        typer.echo(json.dumps(content, ensure_ascii=False))


def exit_with(work: Callable[[], int]) -> None:
    """Run ``work``; exit with its code, or that of the mistake it met."""
    ended = 0

    def run() -> None:
        nonlocal ended
        ended = work()

    code = exit_code(run) or ended
    if code:
        raise typer.Exit(code)
