"""``kineflow submit``: a recipe on a Kubeflow Pipelines server."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    connect,
    console_for,
    exit_with,
    followed,
    say_on,
)
from pipelines.cli_shared import Seeds, Splits

if TYPE_CHECKING:
    from pipelines.submission.server import Server


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
        console = console_for(as_json)
        say = partial(say_on, console)
        chosen, project = params or demo_params(recipe), current_project()
        if dry_run:
            answer_json(as_json, say_plan(recipe, chosen, project, parts, at_once, say, image=image))
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
                lambda: connect(host, token_file, ca_file, namespace, console),
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
            answer_json(as_json, {"runs": [run.as_json() for run in each]})
            return 0
        package, server = check(chosen)
        if parts:
            plan, _ = plan_parts(recipe, chosen, project, parts, image=image)
            answer, code = make_parts(server, package, plan, at_once, options, say, anew=no_cache)
            answer_json(as_json, answer)
            return code
        done = submitted(server, package, options)
        say_on(console, f"version  {done.pipeline} {done.version}{' (there already)' if done.version_reused else ''}")
        say_on(console, f"schedule {done.schedule_id}" if done.schedule_id else f"run      {done.run_id}")
        say_on(console, f"page     {done.url}")
        for old in done.replaced_schedules:
            say_on(console, f"replaced schedule {old}")
        answer, code = done.as_json(), 0
        if watch:
            ended, code = followed(server, done.run_id, done.steps, console)
            answer |= ended
        elif done.run_id:
            say_on(console, f"next     kineflow runs watch {done.run_id}")
        answer_json(as_json, answer)
        return code

    exit_with(work)
