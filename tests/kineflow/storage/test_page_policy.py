"""Every page that we write has the policy, before anything that it is to hold for, and lives within it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import kineflow

TEMPLATES = sorted(Path(kineflow.__file__).parent.rglob("*.html.j2"))
SCRIPTED = ("labelling",)
"""Rooms whose page runs a script; its policy allows that one by its hash, and clips beside the page."""
ITS_OWN = (
    '<script type="application/json" id="content">{{ content | tojson }}</script>',
    "<script>{{ script | safe }}</script>",
    '<video id="video" muted loop autoplay playsinline aria-label="The clip"></video>',
)
META = '<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{{ policy }}">\n'


def test_there_are_templates() -> None:
    assert len(TEMPLATES) >= 4


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_page_has_the_policy_and_nothing_that_it_forbids(template: Path) -> None:
    text = template.read_text(encoding="utf-8")
    assert META in text.partition("<style>")[0]
    if template.parent.name in SCRIPTED:
        for element in ITS_OWN:
            text = text.replace(element, "")
    assert not re.search(r"<(script|link|iframe|object|embed|form|base|video|audio)\b|\son\w+\s*=|javascript:", text)
    assert all("| uri(" in source for source in re.findall(r'\ssrc(?:set)?="([^"]*)"', text))
