"""The generated pages of the documentation, and the tables that are kept by hand."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.reference import REFERENCE, reference

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = re.compile(r"\bKINEFLOW_[A-Z0-9_]+\b")


def test_the_committed_reference_is_current() -> None:
    assert REFERENCE.read_text(encoding="utf-8") == reference(), "make reference"


def test_every_environment_variable_of_ours_is_documented() -> None:
    sources = [
        *(path for folder in ("kineflow", "components", "pipelines") for path in (ROOT / folder).rglob("*.py")),
        *(ROOT / name for name in ("compose.yaml", "Dockerfile")),
    ]
    read = {name for path in sources for name in VARIABLE.findall(path.read_text(encoding="utf-8"))}
    told = set(VARIABLE.findall((ROOT / "docs" / "environment.md").read_text(encoding="utf-8")))
    assert read == told


def test_every_link_within_the_documentation_leads_to_a_file() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))]
    broken = [f"{page.name}: {link}" for page, link in links if "://" not in link and not (page.parent / link).exists()]
    assert not broken
