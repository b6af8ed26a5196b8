"""``kineflow label``: answers of whoever looked at clips go into the project's list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from components.frontend.exits import exit_code


def label(
    answers: Annotated[
        Path,
        typer.Argument(help="CSV file that the labelling page has saved, or one that was filled in by hand."),
    ],
    clips: Annotated[
        Path | None, typer.Option("--list", help="List to write into; by default the parameters'.", metavar="FILE")
    ] = None,
    params: Annotated[
        Path | None, typer.Option("--params", help="Parameter file; by default the project's own.", metavar="FILE")
    ] = None,
    new_class: Annotated[
        list[str] | None,
        typer.Option(
            "--new-class", help="A class that the list does not have yet; may be given again.", metavar="NAME"
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")] = False,
) -> None:
    """Take labels into the project's clips.csv: first ones, and corrections.

    A clip that gets its first label goes from the split unlabelled to train. Where anything is wrong, nothing is
    written.
    """

    def work() -> None:
        from kineflow.labelling.relabel import label_list
        from kineflow.storage.project import required_project
        from pipelines.label import find_list, told

        project = required_project()
        listed = find_list(project, params=params, named=clips)
        done = label_list(listed.path, answers, root=listed.root, new_classes=new_class or (), dry_run=dry_run)
        for line in told(listed, done, project, dry_run=dry_run):
            typer.echo(line)

    raise typer.Exit(exit_code(work))
