from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from kineflow.models.named_weights import MIRROR
from kineflow.models.weights_table import TABLE
from pipelines.cli import app


def test_the_list_tells_what_each_file_is_and_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(MIRROR, raising=False)
    listed = CliRunner().invoke(app, ["weights"]).output
    told = "\n".join(line for line in listed.splitlines() if not line.startswith("  where    /"))
    assert max(map(len, told.splitlines())) <= 100
    for row in TABLE:
        of_row = listed.partition(f"\n{row.name} ")[2].partition("where ")[0]
        facts = (*row.fits, row.learnt, str(row.classes), row.sha256[:8], row.licence, str(row.normalisation))
        assert [fact for fact in facts if fact not in of_row] == []
