"""``kineflow submit``, and the commands below ``kineflow runs``: recipes on a Kubeflow Pipelines server.

Exit codes where a run is followed: 0 it succeeded, 1 it failed, 3 it was cancelled; 2 a mistake, 4 the server stayed
out of sight, 130 Ctrl-C (the run goes on in the last two).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from components.frontend.exits import exit_code
from kineflow.storage.errors import KineflowError
from kineflow.storage.project import current_project
from pipelines.cli_shared import Seeds, Splits

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.submission.server import Server

runs_app = typer.Typer(help="Look at runs on a Kubeflow Pipelines server, and stop them.", no_args_is_help=True)

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
RunId = Annotated[str, typer.Argument(help="Id of a run, as `kineflow runs list` shows it.", metavar="RUN")]


def submit(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, e.g. d3d.")],
    host: Host = None,
    params: Annotated[
        Path | None,
        typer.Option(
            "--params", help="Parameter file, with a section cluster; by default the recipe's demo.", metavar="FILE"
        ),
    ] = None,
    experiment: Annotated[str, typer.Option(help="Group of runs; made where it is missing.")] = "kineflow",
    name: Annotated[str, typer.Option(help="Of the run or schedule; by default the recipe, and the time.")] = "",
    image: Annotated[str, typer.Option(help="By digest, in place of cluster.image.", metavar="NAME@sha256:…")] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Follow the run, and exit as it ends.")] = False,
    schedule: Annotated[
        str | None,
        typer.Option(
            help="Run by the clock (UTC, as the server has it), in place of an older schedule.", metavar="CRON"
        ),
    ] = None,
    parts: Annotated[
        int,
        typer.Option(
            min=0,
            max=100_000,
            help="Make clips and flow only, in so many parts of the source, each by a run of its own.",
            show_default=False,
        ),
    ] = 0,
    at_once: Annotated[int, typer.Option(min=1, max=10_000, help="Runs of parts under way at the same time.")] = 4,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --parts: say what would run, and send nothing.")
    ] = False,
    seeds: Seeds = "",
    splits: Splits = "",
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Do every step again.")] = False,
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Take source that is not committed.")] = False,
    service_account: Annotated[str, typer.Option(help="Of the run's pods; by default the server's choice.")] = "",
    namespace: Namespace = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Run a recipe on a cluster: check everything, upload the package, start the run (or put it on the clock).

    With --seeds or --splits a run is started for each of them, once all are checked. A package that is there already is
    used again. With --watch, the exit code is 0 if the run succeeded, 1 if it failed, 3 if it was cancelled, and 4 if
    the server was out of sight for ten minutes.

    With --parts, the runs of all parts are started, so many at once, and followed to their end; exit code 1 if one
    failed. The same command again starts those that are missing or failed, with --no-cache all of them. A run that
    learns from all parts names their places in its parameter file, as is said at the end.
    """

    def work() -> int:
        from pipelines.cli_parts import check_parts, make_parts, say_plan
        from pipelines.dag.params import demo_params
        from pipelines.engines.axes import Axes
        from pipelines.preflight import check_run
        from pipelines.submission.checks import Package, check_all, plan_parts
        from pipelines.submission.cron import six_fields
        from pipelines.submission.part_sizes import check_parts_of_local
        from pipelines.submission.repeats import submit_each
        from pipelines.submission.retry_policy import retry_notices
        from pipelines.submission.submit import RunOptions
        from pipelines.submission.submit import submit as submitted

        if watch and schedule is not None:
            raise KineflowError(
                "--watch and --schedule: a schedule starts no run to watch now", remedy="leave one of them out"
            )
        axes = Axes.of(seeds, splits)
        if axes and (watch or schedule is not None or parts):
            raise KineflowError(
                f"{axes.words} starts several runs, and --watch, --schedule and --parts are for one",
                remedy="leave them out; kineflow runs list shows the runs, and kineflow runs watch follows one",
            )
        check_parts(parts, dry_run=dry_run, of_one_run=watch or schedule is not None or bool(name))
        options = RunOptions(experiment, name, service_account, six_fields(schedule) if schedule is not None else "")
        console = _console(as_json)
        say = partial(_say, console)
        chosen, project = params or demo_params(recipe), current_project()
        if dry_run:
            _answer(as_json, say_plan(recipe, chosen, project, parts, at_once, say, image=image))
            return 0

        def look(params_file: Path) -> tuple[str, ...]:
            checked = check_run(recipe, params_file, project, where="cluster")
            if parts:
                check_parts_of_local(checked.values["ingestion"], project, parts)
            return checked.notices

        def check(params_file: Path) -> tuple[Package, Server]:
            package, server = check_all(
                recipe,
                params_file,
                project,
                lambda: _server(host, token_file, ca_file, namespace, console),
                image=image,
                caching=not no_cache,
                allow_dirty=allow_dirty,
                look=partial(look, params_file),
                parts=parts,
            )
            for notice in package.notices:
                say(f"note: {notice}")
            return package, server

        for notice in retry_notices(namespace or ""):
            say(f"note: {notice}")
        if axes:
            each = submit_each(recipe, chosen, project, axes, check, options, say)
            say("next     kineflow runs list")
            _answer(as_json, {"runs": [run.as_json() for run in each]})
            return 0
        package, server = check(chosen)
        if parts:
            plan, _ = plan_parts(recipe, chosen, project, parts, image=image)
            answer, code = make_parts(server, package, plan, at_once, options, say, anew=no_cache)
            _answer(as_json, answer)
            return code
        done = submitted(server, package, options)
        _say(console, f"version  {done.pipeline} {done.version}{' (there already)' if done.version_reused else ''}")
        _say(console, f"schedule {done.schedule_id}" if done.schedule_id else f"run      {done.run_id}")
        _say(console, f"page     {done.url}")
        for old in done.replaced_schedules:
            _say(console, f"replaced schedule {old}")
        answer, code = done.as_json(), 0
        if watch:
            ended, code = _followed(server, done.run_id, done.steps, console)
            answer |= ended
        elif done.run_id:
            _say(console, f"next     kineflow runs watch {done.run_id}")
        _answer(as_json, answer)
        return code

    _guarded(work)


@runs_app.command(name="list")
def list_(
    host: Host = None,
    experiment: Annotated[str, typer.Option(help="Only its runs.")] = "",
    last: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 20,
    namespace: Namespace = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """List the latest runs."""

    def work() -> int:
        from pipelines.submission.registry import existing_experiment
        from pipelines.submission.runs import list_runs
        from pipelines.submission.states import state_of

        console = _console(as_json)
        server = _server(host, token_file, ca_file, namespace, console)
        chosen = existing_experiment(server, experiment) if experiment else ""
        runs = list_runs(server, experiment_id=chosen, last=last)
        _answer(as_json, {"runs": [_brief(server, run) for run in runs]})
        if as_json:
            return 0
        if not runs:
            _say(console, "no runs")
            return 0
        rows = [
            (str(run["run_id"]), state_of(run).word, _to_the_second(run), run.get("display_name", "")) for run in runs
        ]
        for row_id, state, started, name in [("run", "state", "started", "name"), *rows]:
            _say(console, f"{row_id:<36}  {state:<15}  {started:<19}  {name}")
        return 0

    _guarded(work)


@runs_app.command()
def watch(
    run: RunId,
    host: Host = None,
    namespace: Namespace = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Follow a run to its end.

    The exit code is 0 if it succeeded, 1 if it failed, 3 if it was cancelled, and 4 if the server was out of sight for
    ten minutes.

    Ctrl-C ends the watching, and not the run.
    """

    def work() -> int:
        from pipelines.submission.runs import get_run, steps_of_run

        console = _console(as_json)
        server = _server(host, token_file, ca_file, namespace, console)
        record = get_run(server, run)
        ended, code = _followed(server, run, steps_of_run(server, record), console)
        _answer(as_json, _brief(server, record) | ended)
        return code

    _guarded(work)


@runs_app.command()
def cancel(
    run: RunId,
    host: Host = None,
    namespace: Namespace = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Stop a run; its steps are ended, and what they finished is kept."""

    def work() -> int:
        from pipelines.submission.runs import cancel_run, get_run
        from pipelines.submission.states import RunState

        console = _console(as_json)
        server = _server(host, token_file, ca_file, namespace, console)
        asked = cancel_run(server, run)
        after = _brief(server, get_run(server, run))
        _say(console, f"{run}: {'asked to stop' if asked else 'has ended already'}, {RunState(after['state']).word}")
        _answer(as_json, after | {"cancel_requested": asked})
        return 0

    _guarded(work)


@runs_app.command()
def logs(
    run: RunId,
    step: Annotated[
        str, typer.Argument(help="A step; by default those that failed, or else all.", metavar="STEP")
    ] = "",
    lines: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many, from the end of each log.")] = 200,
    kubeconfig: Annotated[
        str, typer.Option(help="Of the cluster that the run is on; by default KUBECONFIG.", metavar="FILE")
    ] = "",
    pod_namespace: Annotated[
        str, typer.Option(help="Where the pods are; by default --namespace, or that of the kubeconfig.")
    ] = "",
    host: Host = None,
    namespace: Namespace = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Show the state of every step, why the failed ones failed, and the logs of their pods.

    The states come from Kubeflow Pipelines. Its API has no logs: they are read from Kubernetes, which needs a
    kubeconfig, and the pods to be there still. Where it has none, what the steps have kept in MLflow is shown
    (MLFLOW_TRACKING_URI), of the latest try.
    """

    def work() -> int:
        from pipelines.submission.kept_logs import kept_or
        from pipelines.submission.pod_logs import RunPods, matching, step_of_pod, words_for
        from pipelines.submission.runs import get_run, steps_of_run
        from pipelines.submission.steps import failures, step_states

        console = _console(as_json)
        server = _server(host, token_file, ca_file, namespace, console)
        record = get_run(server, run)
        names = steps_of_run(server, record)
        states = step_states(record, names)
        known = {word for state in states for word in (state.key, state.name)}
        if step and known and step not in known:
            raise KineflowError(
                f"no step {step!r}", where=f"run {run}", remedy=f"choose one of {', '.join(s.name for s in states)}"
            )
        wanted = [step] if step else [failed.name for failed in failures(states)]
        for state in states:
            if not step or step in (state.key, state.name):
                _say(console, f"{state.name}: {state.state.word}" + _indented(state.message))
        answer = _brief(server, record) | {"steps": [_step_json(state) for state in states], "logs": []}
        try:
            pods = RunPods(pod_namespace or server.access.namespace, kubeconfig)
            there = pods.of_run(run)
            chosen = [pod for each in wanted for pod in matching(there, each, names)] if wanted else there
            if not chosen:
                raise KineflowError(
                    f"no pods of {', '.join(wanted) or 'this run'} are left", where=f"namespace {pods.namespace}",
                    remedy="see the run's page; or name another --pod-namespace",
                )  # fmt: skip
            for pod in chosen:
                log = pods.log(pod, lines)
                step_name = names.get(step_of_pod(pod), step_of_pod(pod))
                answer["logs"].append({"step": step_name, "pod": pod.name, "phase": pod.phase, "text": log})
                _say(console, f"\n── {step_name} ({pod.name}, {pod.phase.lower()})\n{log.rstrip()}")
        except KineflowError as error:
            words = {word for name in wanted for word in words_for(name, names)}
            try:
                kept = kept_or(error, run, words, lines, current_project())
            except KineflowError as missing:
                _answer(as_json, answer | {"logs_missing": missing.problem})
                raise
            for each in kept:
                answer["logs"].append(each.as_json())
                _say(console, f"\n── {each.step} (kept in MLflow, {each.status.lower()})\n{each.text.rstrip()}")
        _answer(as_json, answer)
        return 0

    _guarded(work)


def _server(
    host: str | None, token_file: Path | None, ca_file: Path | None, namespace: str | None, console: Console
) -> Server:
    from pipelines.submission.access import Access
    from pipelines.submission.server import Server

    access = Access.find(host, token_file=token_file, ca_file=ca_file, namespace=namespace, environment=os.environ)
    return Server(access, on_retry=lambda line: _say(console, line))


def _followed(server: Server, run_id: str, names: Mapping[str, str], console: Console) -> tuple[dict[str, Any], int]:
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
        _say(console, f"\nrun {run_id} failed" + _indented(why))
        for failed in failures(steps):
            _say(console, f"{failed.name}: failed" + _indented(failed.message))
            _say(console, f"  → kineflow runs logs {run_id} {failed.name}")
    ended = {"state": state.value, "steps": [_step_json(step) for step in steps]}
    return ended | ({"error": why} if why else {}), EXIT_CODES[state]


def _brief(server: Server, run: Mapping[str, Any]) -> dict[str, Any]:
    from pipelines.submission.states import state_of

    copied = ("display_name", "experiment_id", "created_at", "finished_at")
    return {
        "run_id": run["run_id"],
        "url": server.access.run_page(str(run["run_id"])),
        "state": state_of(run).value,
        **{"name" if key == "display_name" else key: run[key] for key in copied if run.get(key)},
    }


def _to_the_second(run: Mapping[str, Any]) -> str:
    return str(run.get("created_at", ""))[:19].replace("T", " ")


def _step_json(step: Any) -> dict[str, Any]:
    row = {"name": step.name, "task": step.key, "state": step.state.value, "parts": step.parts, "done": step.done}
    return row | ({"message": step.message} if step.message else {})


def _indented(text: str) -> str:
    return "".join(f"\n    {line}" for line in text.splitlines())


def _console(as_json: bool) -> Console:
    """Where people are told things: standard error when standard output is for a program."""
    from rich.console import Console

    return Console(stderr=as_json, soft_wrap=True, highlight=False)


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False, markup=False)


def _answer(as_json: bool, content: Mapping[str, Any]) -> None:
    if as_json:
        typer.echo(json.dumps(content, ensure_ascii=False))


def _guarded(work: Callable[[], int]) -> None:
    """Run ``work``; exit with its code, or that of the mistake it met."""
    ended = 0

    def run() -> None:
        nonlocal ended
        ended = work()

    code = exit_code(run) or ended
    if code:
        raise typer.Exit(code)
