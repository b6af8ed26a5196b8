"""``kineflow suggest``: clips that somebody should look at, from what a run knows."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path
from typing import Annotated

import typer

from components.frontend.exits import exit_code


def suggest(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe that has been run, e.g. few_clips.")],
    params: Annotated[
        Path | None, typer.Option("--params", help="Parameter file; by default the project's own.", metavar="FILE")
    ] = None,
    clips: Annotated[
        int, typer.Option(min=1, max=10_000, help="Clips to suggest, and labels to doubt, at most.", metavar="N")
    ] = 40,
    pool: Annotated[
        int, typer.Option(min=1, max=5_000, help="Unlabelled clips that are looked at, at most.", metavar="N")
    ] = 1000,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for whoever labels: a page, and a list.", metavar="DIR")
    ] = Path("labelling"),
) -> None:
    """Choose unlabelled clips whose labels would teach the model most, and labels that look wrong, for a look.

    What is computed of clips on the way is kept, and found by the next run. Interrupted, the same command goes on.
    """

    def work() -> None:
        from kineflow.storage.project import required_project
        from pipelines.dag.params import demo_params
        from pipelines.label import params_option
        from pipelines.suggest import suggest as suggested
        from pipelines.suggest import told

        project = required_project()
        chosen, folder = (params or demo_params(recipe)).absolute(), out.absolute()
        with chdir(project):  # paths of its parameters are below it
            done = suggested(recipe, chosen, project, clips=clips, pool=pool, folder=folder)
        for line in told(done, recipe, params_option(params, project)):
            typer.echo(line)

    raise typer.Exit(exit_code(work))
