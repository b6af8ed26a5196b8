"""The one error a user is meant to read."""

from __future__ import annotations

from pathlib import Path


class KineflowError(Exception):
    """A mistake that its reader can mend; front ends print it without a traceback and exit with 2.

    Args:
        problem: What is wrong, with the offending value.
        where: The file, row or key it was found in.
        remedy: What to do about it, as an imperative sentence.
    """

    def __init__(self, problem: str, *, where: str | Path | None = None, remedy: str | None = None) -> None:
        super().__init__(problem)
        self.problem, self.where, self.remedy = problem, where, remedy

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where is not None else ""
        remedy = f"\n  → {self.remedy}" if self.remedy else ""
        return f"{place}{self.problem}{remedy}"
