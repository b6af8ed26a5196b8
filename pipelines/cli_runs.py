"""The commands below ``kineflow runs``: runs on a Kubeflow Pipelines server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from kineflow.storage.errors import KineflowError
from kineflow.storage.project import current_project
from pipelines.cli_cluster import (
    AsJson,
    CaFile,
    Host,
    Namespace,
    TokenFile,
    answer_json,
    brief,
    connect,
    console_for,
    exit_with,
    followed,
    indented,
    say_on,
    step_json,
)

runs_app = typer.Typer(help="Look at runs on a Kubeflow Pipelines server, and stop them.", no_args_is_help=True)

RunId = Annotated[str, typer.Argument(help="Id of a run, as `kineflow runs list` shows it.", metavar="RUN")]


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

        console = console_for(as_json)
        server = connect(host, token_file, ca_file, namespace, console)
        chosen = existing_experiment(server, experiment) if experiment else ""
        runs = list_runs(server, experiment_id=chosen, last=last)
        answer_json(as_json, {"runs": [brief(server, run) for run in runs]})
        if as_json:
            return 0
        if not runs:
            say_on(console, "no runs")
            return 0
        rows = [
            (str(run["run_id"]), state_of(run).word, _to_the_second(run), run.get("display_name", "")) for run in runs
        ]
        for row_id, state, started, name in [("run", "state", "started", "name"), *rows]:
            say_on(console, f"{row_id:<36}  {state:<15}  {started:<19}  {name}")
        return 0

    exit_with(work)


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

        console = console_for(as_json)
        server = connect(host, token_file, ca_file, namespace, console)
        record = get_run(server, run)
        ended, code = followed(server, run, steps_of_run(server, record), console)
        answer_json(as_json, brief(server, record) | ended)
        return code

    exit_with(work)


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

        console = console_for(as_json)
        server = connect(host, token_file, ca_file, namespace, console)
        asked = cancel_run(server, run)
        after = brief(server, get_run(server, run))
        say_on(console, f"{run}: {'asked to stop' if asked else 'has ended already'}, {RunState(after['state']).word}")
        answer_json(as_json, after | {"cancel_requested": asked})
        return 0

    exit_with(work)


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

        console = console_for(as_json)
        server = connect(host, token_file, ca_file, namespace, console)
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
                say_on(console, f"{state.name}: {state.state.word}" + indented(state.message))
        answer = brief(server, record) | {"steps": [step_json(state) for state in states], "logs": []}
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
                say_on(console, f"\n── {step_name} ({pod.name}, {pod.phase.lower()})\n{log.rstrip()}")
        except KineflowError as error:
            words = {word for name in wanted for word in words_for(name, names)}
            try:
                kept = kept_or(error, run, words, lines, current_project())
            except KineflowError as missing:
                answer_json(as_json, answer | {"logs_missing": missing.problem})
                raise
            for each in kept:
                answer["logs"].append(each.as_json())
                say_on(console, f"\n── {each.step} (kept in MLflow, {each.status.lower()})\n{each.text.rstrip()}")
        answer_json(as_json, answer)
        return 0

    exit_with(work)


def _to_the_second(run: Mapping[str, Any]) -> str:
    return str(run.get("created_at", ""))[:19].replace("T", " ")
