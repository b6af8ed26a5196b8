"""What commands share: how they end, and what has to be there before they look at runs and models."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated

import typer

from components.frontend.exits import exit_code
from kineflow.storage.project import required_project

Seeds = Annotated[str, typer.Option(help="A run for each of these seeds.", metavar="1,2,3")]
Splits = Annotated[str, typer.Option(help="A run for each of these official splits of the lists.", metavar="1,2,3")]


def guarded(work: Callable[[], None]) -> None:
    """Do the work of a command; what it cannot do is said in one message, and ends it with an exit code.

    Raises:
        typer.Exit: The work did not come to its end.
    """
    code = exit_code(work)
    if code:
        raise typer.Exit(code)


def require_records() -> None:
    """Runs and models are those of a project, or of the server that is named; those of killed processes are closed.

    Raises:
        KineflowError: There is neither.
    """
    from kineflow.tracking.abandoned import close_abandoned

    if not os.environ.get("MLFLOW_TRACKING_URI"):
        required_project()
    close_abandoned()
