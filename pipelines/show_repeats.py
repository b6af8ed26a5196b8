"""Runs by seeds and splits, on a terminal."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kineflow.comparison import repeats_words as words
from kineflow.comparison.repeats import RepeatsReport


def show_repeats(report: RepeatsReport, page: Path) -> None:
    """Print the tables of a report, which runs failed, and where the page is."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for task, evaluation in report.evaluations.items():
        console.print(f"\n{task}, {words.how_many(evaluation)}")
        for figure in words.shown_figures(evaluation):
            table = _table(f"{words.SHOWN[figure]}, %", words.headings(evaluation))
            for row in evaluation.rows:
                if figure in row.figures:
                    table.add_row(row.name, *words.cells(row, figure))
            console.print(table)
        if evaluation.differences:
            baseline = evaluation.differences[0].baseline
            what = f"points of {words.SHOWN[evaluation.compared]}"
            table = _table(f"above {baseline} in the same runs, {what}", ["", "95 % interval", ""])
            for difference in evaluation.differences:
                gain = difference.over_all
                points = f"{100 * gain.value:+.1f}"
                table.add_row(difference.model, points, words.interval(gain), words.verdict(gain))
            console.print(table)
    for run in report.runs:
        if run.failure:
            console.print(f"failed: {run.name}: {run.failure}")
    console.print(f"    report  {os.path.relpath(page)}")


def _table(title: str, headings: list[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=False)
    table.add_column("model", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table
