"""``kineflow init`` and ``kineflow clean``: a project is made, and what its runs left behind is removed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from components.frontend.exits import exit_code


def init(
    folder: Annotated[Path, typer.Argument(help="Of the project; made if it is not there.")] = Path(),
    recipe: Annotated[str, typer.Option(help="Whose demo the parameter file starts from.")] = "d3d",
) -> None:
    """Make a project: a parameter file, DVC's folder, .gitignore, and a README that says how to go on."""

    def work() -> None:
        from pipelines.project import make_project

        typer.echo(f"{make_project(folder, recipe)}: a project for {recipe}; its README.md says how to go on")

    raise typer.Exit(exit_code(work))


def clean(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove the outputs of all runs of the project, after asking; recorded runs, models and media stay."""

    def work() -> None:
        from kineflow.storage.project import required_project
        from pipelines.project import output_folders, remove_outputs

        project = required_project()
        folders = output_folders(project)
        for path, size in folders.items():
            typer.echo(f"{size / 1e6:10.1f} MB  {path.relative_to(project)}")
        if not folders:
            typer.echo("nothing to remove")
        elif yes or typer.confirm("Remove these folders? DVC's cache, media and registered models stay."):
            remove_outputs(folders)

    raise typer.Exit(exit_code(work))
