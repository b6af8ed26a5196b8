"""Runs side by side on one HTML page: words here, layout in ``page.html.j2``, looks those of the reports."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from kineflow.comparison.comparison import Comparison
from kineflow.comparison.words import best_trivial, classes_in_words, gain_in_words, made_by_another, model_columns
from kineflow.storage.files import atomic_file
from kineflow.storage.page_policy import PAGE_POLICY, page_template


def write_page(path: Path, comparison: Comparison) -> None:
    """Write the page as one HTML file, whole or not at all.

    Args:
        path: Of the file.
        comparison: What it shows.
    """
    html = render(comparison)
    with atomic_file(path) as partial:
        partial.write_text(html, encoding="utf-8")


def render(comparison: Comparison) -> str:
    """The page as text."""
    return page_template(
        Path(__file__).parent / "page.html.j2",
        {
            "percent": lambda share: f"{100 * share:.1f}",
            "gain": gain_in_words,
            "classes": classes_in_words,
            "columns": model_columns,
            "trivial": best_trivial,
            "made_by": made_by_another,
            "whole": lambda figure: f"{figure:,.0f}",
        },
    ).render(
        comparison=comparison,
        policy=PAGE_POLICY,
        style=(files("kineflow.evaluation.report") / "style.css").read_text(encoding="utf-8"),
    )
