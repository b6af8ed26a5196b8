"""A step that fails as it is told to, and keeps count of its tries."""

from __future__ import annotations

from pathlib import Path

from components.frontend.contract import FileOutput, StepResult, UntrackedResult
from kineflow.storage.errors import KineflowError


def steep(*, tries: str, exit_code: int = 0, tea: FileOutput) -> UntrackedResult:
    """Wait.

    Args:
        tries: File with one letter a try.
        exit_code: Of the failure; 0 for none, 1 for an error of nobody's.

    Raises:
        KineflowError: As told.
    """
    with Path(tries).open("a") as stream:
        stream.write("x")
    if exit_code == 1:
        raise ZeroDivisionError
    if exit_code:
        raise KineflowError("the leaves are wet", where="pot", remedy="dry them", exit_code=exit_code)
    tea.write_text("tea")
    return StepResult()
