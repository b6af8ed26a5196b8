"""What a run is told to the terminal in: its results, and where to look next."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from kineflow.spec.output_files import METRICS_FILE, RESERVED_METRICS
from kineflow.storage.credentials import mask_uri
from kineflow.storage.project import current_project, project_around
from kineflow.tracking.addresses import LOCAL_SERVER, experiments_page
from kineflow.tracking.store import database_file, tracking_uri
from pipelines.engines.outcome import Outcome

if TYPE_CHECKING:
    from kineflow.registry.history import Event
    from kineflow.sets.garbage import Garbage

_COLUMNS = {"auc": "AUC", "top5": "top-5", "mean_class_accuracy": "mean class"}  # beside top-1 and its interval
_MANY_CLASSES = 6  # of five, the best five are all


def show_outcome(outcome: Outcome) -> None:
    """Print which tasks ran, the table of results, and where report, runs and model are."""
    console = Console(soft_wrap=True, highlight=False)
    count = f"{len(outcome.ran)} task{'' if len(outcome.ran) == 1 else 's'}"
    console.print(f"\n{count} run: {', '.join(outcome.ran)}" if outcome.ran else "\nnothing to do")
    for outputs in outcome.outputs.values():
        if "evaluation" in outputs:
            console.print(results_table(json.loads((outputs["evaluation"] / METRICS_FILE).read_text())))
    named = {"evaluate": "report", "select-model": "report", "validate": "data docs"}
    pages = {task: outputs["report"] for task, outputs in outcome.outputs.items() if "report" in outputs}
    for task in sorted(pages, key=lambda task: (task not in named, task)):
        console.print(f"{named.get(task, task):>10}  {_relative(pages[task])}")
    page, *then = runs_pages()
    console.print(f"      runs  {page}   (or: {_command('compare')})")
    for line in then:
        console.print(f"            {line}")
    registered = outcome.outputs.get("register", {}).get("registration")
    if registered:
        registration = json.loads(registered.read_text())
        if "version" not in registration:
            console.print(f"     model  none: nothing is registered as {registration['name']}")
            return
        console.print(f"     model  {registration['name']} version {registration['version']}, alias candidate")
        console.print(f"      next  {_command('promote', registration['name'])}")


def results_table(metrics: Mapping[str, Any]) -> Table:
    """The table of ``metrics.json``: one row a model, then fusions and trivial baselines, with 95 % intervals."""
    data = metrics["data"]
    table = Table(title=f"{data['split']}: {data['clips']} clips", title_justify="left", box=None, pad_edge=False)
    headings, rows = result_rows(metrics)
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for row in rows:
        table.add_row(*row)
    return table


def result_rows(metrics: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of that table, as text."""
    columns = dict(_COLUMNS)
    if metrics["data"].get("classes", _MANY_CLASSES) < _MANY_CLASSES:
        del columns["top5"]
    if metrics["data"].get("classes") != 2:
        del columns["auc"]
    if metrics["data"].get("multi_label"):
        del columns["mean_class_accuracy"]
        columns["average_precision"] = "mAP"
    models = {name: figures for name, figures in metrics.items() if name not in RESERVED_METRICS}
    trivial = {f"{name} (trivial)": figures for name, figures in metrics.get("baselines", {}).items()}
    rows = []
    for name, figures in {**models, **metrics.get("fusion", {}), **trivial}.items():
        interval = f"{figures['top1_low']:.1%} – {figures['top1_high']:.1%}"
        rows.append([name, f"{figures['top1']:.1%}", interval, *(_share(figures, key) for key in columns)])
    return ["model", "top-1", "95 % interval", *columns.values()], rows


def _share(figures: Mapping[str, Any], key: str) -> str:
    if key not in figures:
        return "–"
    return f"{figures[key]:.3f}" if key == "auc" else f"{figures[key]:.1%}"


def show_garbage(garbage: Garbage, store: Path) -> None:
    """Print what a project's store holds that nobody needs, and what stays, by kind."""
    console = Console(soft_wrap=True, highlight=False)
    for folder in garbage.unread:
        console.print(f"not here, so what it needs is not kept: {folder}")
    table = Table(box=None, pad_edge=False)
    for heading in ("", "needed", "not needed", "MB"):
        table.add_column(heading, justify="left" if not heading else "right")
    unneeded = garbage.by_kind(store)
    for kind in dict.fromkeys([*garbage.kept, *unneeded]):
        files, size = unneeded.get(kind, (0, 0))
        table.add_row(kind, str(garbage.kept.get(kind, 0)), str(files), f"{size / 1e6:.1f}")
    console.print(table if table.row_count else f"nothing is stored in {store}")


def runs_pages() -> list[str]:
    """Where runs are shown: an address; before it, for the project's own database, the command that serves it."""
    uri = tracking_uri()
    if database_file(uri) is None:
        return [experiments_page(mask_uri(uri).rstrip("/"))]
    return [f"mlflow ui --backend-store-uri {shlex.quote(uri)}", experiments_page(LOCAL_SERVER)]


def _command(*words: str) -> str:
    """A command of ours that does the same where the user stands: outside of the project it names it."""
    project = current_project()
    inside = project_around(Path.cwd()) == project
    return shlex.join(["kineflow", *words, *([] if inside else ["--project", os.path.relpath(project)])])


def _relative(path: Path) -> str:
    return os.path.relpath(path)


def show_history(name: str, events: Sequence[Event]) -> None:
    """Print what was decided about a registered model, latest first."""
    console = Console(soft_wrap=True, highlight=False)
    if not events:
        console.print(f"no version of {name} was promoted, refused or rolled back yet")
    for event in events:
        state = "" if event.state == "done" else f", {event.state}"
        instead = f" in place of version {event.champion}" if event.champion and event.action != "refusal" else ""
        console.print(
            f"{event.at}  {event.action}{state}: version {event.version}{instead}, by {event.by}", markup=False
        )
        for words in (event.why, *event.reasons):
            if words:
                console.print(f"    {words}", markup=False)
