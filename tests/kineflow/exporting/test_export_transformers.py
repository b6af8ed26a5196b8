"""Networks of transformers, exported: `export_model` itself compares what it wrote with the bundle."""

from __future__ import annotations

from pathlib import Path

import pytest

from kineflow.exporting.export import export_model
from kineflow.models.transformers_checkpoint import import_checkpoint
from tests.tiny_transformers import CONFIGS, write_tiny

pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("to", ["torch", "onnx"])
@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[] if name == "videomae" else [pytest.mark.long]) for name in CONFIGS]
)
def test_it_answers_alike_as_a_file(family: str, to: str, tmp_path: Path) -> None:
    write_tiny(tmp_path / "theirs", family)
    import_checkpoint(str(tmp_path / "theirs"), tmp_path / "ours", stride_frames=1)
    exported = export_model(tmp_path / "ours", tmp_path / to, to)  # type: ignore[arg-type]
    assert exported.description["greatest_difference"] < 1e-5
