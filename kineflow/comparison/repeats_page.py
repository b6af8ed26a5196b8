"""Runs by seeds and splits on one HTML page: words in :mod:`repeats_words`, layout in ``repeats.html.j2``."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from kineflow.comparison import repeats_words as words
from kineflow.comparison.repeats import RepeatsReport
from kineflow.storage.files import atomic_file
from kineflow.storage.page_policy import PAGE_POLICY, page_template


def write_page(path: Path, report: RepeatsReport) -> None:
    """Write the page as one HTML file, whole or not at all."""
    template = page_template(
        Path(__file__).parent / "repeats.html.j2",
        {
            "headings": words.headings,
            "figures": words.shown_figures,
            "cells": words.cells,
            "gains": words.gains,
            "verdict": words.verdict,
            "how_many": words.how_many,
        },
    )
    html = template.render(
        report=report,
        named=words.SHOWN,
        policy=PAGE_POLICY,
        style=(files("kineflow.evaluation.report") / "style.css").read_text(encoding="utf-8"),
    )
    with atomic_file(path) as partial:
        partial.write_text(html, encoding="utf-8")
