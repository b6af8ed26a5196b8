from pathlib import Path

import pytest

from pipelines.dag import sources
from pipelines.dag.sources import ROOT, source_digest, source_files


def test_a_step_depends_on_what_it_imports_even_inside_functions() -> None:
    files = source_files("train")
    assert "components/train/step.py" in files
    assert "kineflow/training/tasks.py" in files  # imported by a module that the step imports in its body
    assert "kineflow/spec/sampling.py" in files
    assert "kineflow/models/s3d.py" in files  # the registry imports networks by their names


def test_templates_count_with_the_module_that_fills_them() -> None:
    assert "kineflow/evaluation/report/page.html.j2" in source_files("evaluate")


def test_a_step_does_not_depend_on_what_it_never_imports() -> None:
    assert not [name for name in source_files("ingest") if name.startswith(("kineflow/training", "kineflow/models"))]
    assert not [name for name in source_files("train") if name.startswith("kineflow/synth")]


def test_front_ends_and_tracking_are_no_part_of_a_step() -> None:
    carriers = ("component.py", "__main__.py", "frontend.py", "runs.py")
    assert not [name for name in source_files("train") if name.endswith(carriers)]


def test_the_step_that_registers_depends_on_the_registry() -> None:
    assert "kineflow/registry/registration.py" in source_files("register")


def test_the_digest_changes_with_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in source_files("validate"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    before = source_digest("validate")
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    assert source_digest("validate") == before
    changed = tmp_path / "components/validate/step.py"
    changed.write_text(changed.read_text() + "\n# changed\n")
    assert source_digest("validate") != before
