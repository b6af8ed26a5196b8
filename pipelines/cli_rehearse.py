"""The command ``kineflow rehearse``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kineflow.storage.project import current_project
from pipelines.cli_shared import guarded


def rehearse(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, e.g. d3d.")],
    params: Annotated[
        Path | None, typer.Option("--params", help="Parameter file; by default the project's own.", metavar="FILE")
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="Most memory that a training step may be counted to need, GiB; its batch is made smaller for that. By "
            "default half of what is free; on a GPU batches are the file's own.",
            metavar="GIB",
        ),
    ] = None,
) -> None:
    """Try every stage of a run on a few of its own clips, with its own networks and sizes, one step a training.

    Says what memory each stage took. Nothing is registered, and nothing is kept: it happens in a temporary folder.
    """

    def work() -> None:
        from pipelines.dag.params import demo_params
        from pipelines.preflight import check_run
        from pipelines.rehearsal import rehearse as rehearsed
        from pipelines.show_rehearsal import show_rehearsal

        chosen = (params or demo_params(recipe)).absolute()
        checked = check_run(recipe, chosen, current_project())
        for notice in checked.notices:
            typer.echo(f"note: {notice}")
        limit = None if memory is None else memory * 2**30
        try:
            done = rehearsed(recipe, chosen, current_project(), memory_bytes=limit)
        except KeyboardInterrupt as stop:
            stop.args = ("nothing of the rehearsal is kept",)
            raise
        show_rehearsal(done)

    guarded(work)
