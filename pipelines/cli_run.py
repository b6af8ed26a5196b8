"""``kineflow run``: a recipe on this machine, once or by seeds and splits."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kineflow.storage.errors import KineflowError
from kineflow.storage.project import required_project
from pipelines.cli_shared import Seeds, Splits, guarded
from pipelines.run_once import Engine, RunRequest, prepare_tracking, run_once

if TYPE_CHECKING:
    from kineflow.comparison.repeats import RepeatsReport
    from pipelines.engines.axes import Axes


def run(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, e.g. d3d.")],
    params: Annotated[
        Path | None, typer.Option("--params", help="Parameter file; by default the project's own.", metavar="FILE")
    ] = None,
    engine: Annotated[
        Engine,
        typer.Option(
            help="dvc does only what changed; kfp runs the KFP package; docker too, each task in a container."
        ),
    ] = Engine.DVC,
    force: Annotated[bool, typer.Option("--force", help="Do every step again (dvc).")] = False,
    publish: Annotated[
        str, typer.Option(help="Put models and reports there in the end.", metavar="s3://BUCKET/PREFIX")
    ] = "",
    seeds: Seeds = "",
    splits: Splits = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="With --seeds or --splits: the report as JSON, all else on standard error.")
    ] = False,
) -> None:
    """Run a recipe from videos to a registered model.

    With --seeds or --splits there are several runs, one after the other, and a report with means, standard deviations
    and paired differences. A run that fails does not end the others; the same command again does what is missing.
    """

    def work() -> None:
        from kineflow.storage.client import split_uri
        from pipelines.dag.params import demo_params
        from pipelines.engines.axes import Axes

        axes = Axes.of(seeds, splits)
        if as_json and not axes:
            raise KineflowError(
                "--json goes with --seeds or --splits", remedy="see kineflow compare --json for one run"
            )
        if publish:
            split_uri(publish)  # a mistake in it should not show after hours
        project = required_project()
        chosen = (params or demo_params(recipe)).absolute()
        request = RunRequest(recipe, chosen, project, engine, force, publish)
        if axes:
            _repeat(request, axes, as_json)
        else:
            _once(request)

    guarded(work)


def _once(request: RunRequest) -> None:
    from pipelines.preflight import check_run
    from pipelines.show import show_outcome

    checked = check_run(request.recipe, request.params_file, request.project)
    for notice in checked.notices:
        typer.echo(f"note: {notice}")
    prepare_tracking()
    done = run_once(request, checked)
    show_outcome(done.outcome)
    if done.published:
        typer.echo(f" published  {done.published}")


def _repeat(request: RunRequest, axes: Axes, as_json: bool) -> None:
    from pipelines.run_repeats import check_repeats, run_repeats
    from pipelines.show_repeats import show_repeats

    reports: list[RepeatsReport] = []

    def tell(report: RepeatsReport, page: Path) -> None:
        reports.append(report)
        show_repeats(report, page)

    try:
        with redirect_stdout(sys.stderr) if as_json else nullcontext():
            checked = check_repeats(request, axes)
            for notice in dict.fromkeys(notice for _, of_run in checked for notice in of_run.notices):
                typer.echo(f"note: {notice}")
            run_repeats(request, axes, checked, tell)
    finally:
        if as_json and reports:
            typer.echo(json.dumps(reports[0].plain(), indent=1))
