"""Runs side by side, on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from kineflow.comparison.comparison import Comparison, Together
from kineflow.comparison.records import RunRecord
from kineflow.comparison.words import best_trivial, classes_in_words, gain_in_words, made_by_another, model_columns
from pipelines.show import runs_pages

_BEST_TRIVIAL, _JUDGED_BY = "best trivial", "judged by run"
_FACTS = ("run", "started")
_RECIPE, _STATUS = "recipe", "status"
_MOST_LETTERS = 40


def show_list(comparison: Comparison) -> None:
    """Print one line a run and a table for each set of clips: figures of different ones are not in one column."""
    console = _console()
    if not comparison.groups:
        console.print("no runs yet; `kineflow run d3d` makes one")
        return
    for group in comparison.groups:
        console.print(f"{group.heading}:")
        console.print(_figures(group))
        console.print()
    console.print("top-1 of each model; what differs between runs: kineflow compare RUN RUN")
    page, *then = runs_pages()
    console.print(f"the rest: {page}")
    for line in then:
        console.print(f"  {line}")


def show_closely(comparison: Comparison) -> None:
    """Print what differs: parameters, figures with the interval of their difference, classes, cost."""
    console = _console()
    if comparison.params:
        console.print(_params(comparison))
    else:
        console.print("parameters: the same, or not recorded")
    console.print()
    for group in comparison.groups:
        console.print(f"{group.heading}:")
        console.print(_figures(group))
        for change in group.changes:
            console.print(f"  {change.run}, {change.model}: {gain_in_words(change.gain)}")
            if words := classes_in_words(change):
                console.print(f"    {words}")
        console.print()
    if len(comparison.groups) > 1:
        console.print("Figures of different clips or protocols are not compared.")
    console.print(_cost(comparison.records))


def _figures(group: Together) -> Table:
    models = model_columns(group)
    trivial = [best_trivial(record) for record in group.records]
    has_trivial = any(value is not None for value in trivial)
    taken = any(map(made_by_another, group.records))
    table = Table(box=None, pad_edge=False)
    of_several = len({record.recipe for record in group.records}) > 1
    went_wrong = any(record.status != "FINISHED" for record in group.records)
    facts = (*_FACTS, *([_STATUS] if went_wrong else []), *([_RECIPE] if of_several else []))
    extra = [*([_BEST_TRIVIAL] if has_trivial else []), *([_JUDGED_BY] if taken else [])]
    for column in (*facts, *models, *extra):
        is_fact = column in (*facts, _JUDGED_BY)
        table.add_column(column, justify="left" if is_fact else "right", no_wrap=column != _BEST_TRIVIAL)
    for record, value in zip(group.records, trivial, strict=True):
        figures = record.judged.figures if record.judged else {}
        cells = [f"{figures[f'{model}/top1']:.1%}" if f"{model}/top1" in figures else "" for model in models]
        cells += ["" if value is None else f"{value:.1%}"] if has_trivial else []
        cells += [made_by_another(record)] if taken else []
        status = [record.status.lower()] if went_wrong else []
        recipe = [record.recipe] if of_several else []
        table.add_row(record.id, record.started, *status, *recipe, *cells)
    return table


def _params(comparison: Comparison) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("parameter")
    for record in comparison.records:
        table.add_column(record.id)
    for name, values in comparison.params.items():
        table.add_row(name, *("–" if value is None else _shortened(value) for value in values))
    return table


def _cost(records: Sequence[RunRecord]) -> Table:
    table = Table(box=None, pad_edge=False)
    headings = {"cpu_s": "CPU s", "wall_s": "wall s", "peak_memory_mb": "peak MB"}
    for heading in ("of what ran", "data", "commit", *headings.values()):
        table.add_column(heading, justify="right" if heading in headings.values() else "left")
    for record in records:
        cells = [f"{record.cost[key]:,.0f}" if key in record.cost else "–" for key in headings]
        table.add_row(record.id, record.data[:12] or "–", record.commit or "–", *cells)
    return table


def _shortened(value: str) -> str:
    return value if len(value) <= _MOST_LETTERS else f"{value[: _MOST_LETTERS - 1]}…"


def _console() -> Console:
    return Console(soft_wrap=True, highlight=False, markup=False)
