"""``kineflow init`` and ``kineflow clean``: a project is made, and what its runs left behind is removed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from components.frontend.exits import exit_code
from kineflow.storage.project import PROJECT


def init(
    folder: Annotated[
        Path, typer.Argument(help="Of the project; made if it is not there.", envvar=PROJECT, show_envvar=False)
    ] = Path(),
    recipe: Annotated[str, typer.Option(help="Whose parameters the project starts from; d3d by default.")] = "",
    paper: Annotated[bool, typer.Option("--paper", help="At the paper's scale, for UCF101; not the demo's.")] = False,
) -> None:
    """Make a project: a parameter file, DVC's folder, .gitignore, a README. Or add a recipe's parameters to one."""

    def work() -> None:
        from pipelines.engines.workspace import PARAMS_FILE
        from pipelines.project import add_recipe, make_project

        if recipe and (folder / PARAMS_FILE).exists():
            typer.echo(f"wrote {add_recipe(folder, recipe, paper=paper)}")
        else:
            made = make_project(folder, recipe or "d3d", paper=paper)
            typer.echo(f"{made}: a project for {recipe or 'd3d'}; its README.md says how to go on")

    raise typer.Exit(exit_code(work))


def clean(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove the outputs of all runs of the project, after asking; recorded runs, models and media stay."""

    def work() -> None:
        from kineflow.sets.garbage import check_idle
        from kineflow.storage.project import required_project
        from pipelines.project import output_folders, remove_outputs

        project = required_project()
        check_idle(project)
        folders = output_folders(project)
        for path, size in folders.items():
            typer.echo(f"{size / 1e6:10.1f} MB  {path.relative_to(project)}")
        if not folders:
            typer.echo("nothing to remove")
        elif yes or typer.confirm("Remove these folders? DVC's cache, media and registered models stay."):
            remove_outputs(folders)

    raise typer.Exit(exit_code(work))
