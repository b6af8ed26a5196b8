"""What a digest of a step sees, and what it does not."""

from __future__ import annotations

import inspect
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pipelines.dag import step_digest
from pipelines.dag.graph import graph_of
from pipelines.dag.params import demo_params, load_params
from pipelines.dag.sources import ROOT
from pipelines.dag.step_digest import Code, task_digests

pytestmark = pytest.mark.slow

Edit = Callable[[str], str]


class Source:
    """A copy of the packages that can be edited."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for package in ("kineflow", "components"):
            shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))

    def edit(self, name: str, edit: Edit) -> None:
        path = self.folder / name
        before = path.read_text()
        after = edit(before)
        assert after != before, name
        path.write_text(after)

    def digests(self, recipe: str = "d3d", project: Path | None = None, **changed: dict[str, Any]) -> dict[str, str]:
        graph = graph_of(recipe)
        values = load_params(graph, ROOT / demo_params(recipe))
        for key, section in changed.items():
            values[key] = values[key] | section
        return task_digests(graph, values, project or self.folder / "project")

    def changed_by(self, name: str, edit: Edit, recipe: str = "d3d") -> set[str]:
        before = self.digests(recipe)
        self.edit(name, edit)
        after = self.digests(recipe)
        return {task for task, digest in after.items() if digest != before[task]}


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    copy = Source(tmp_path)
    monkeypatch.setattr(step_digest, "ROOT", tmp_path)
    return copy


def replaced(old: str, new: str) -> Edit:
    return lambda text: text.replace(old, new)


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("kineflow/storage/errors.py", lambda text: text + "\n# a comment\n"),
        ("kineflow/storage/files.py", replaced('"""Hex SHA-256 of a file', '"""Hexadecimal SHA-256 of a file')),
        ("kineflow/storage/files.py", replaced("leads outside its root", "is outside of its root")),
        ("kineflow/training/settings.py", replaced('    """', '    """ ')),
        ("kineflow/training/jobs.py", replaced("tracker: Tracker", "tracker: object")),
        ("kineflow/data/ingested.py", replaced("import csv\n", "import csv\nimport  csv as _unused\n")),
        ("kineflow/storage/files.py", lambda text: text + "\n\ndef new_function() -> None:\n    print(1)\n"),
        ("kineflow/tracking/runs.py", lambda text: text + "\nTHERE_IS_MORE = 1\n"),
    ],
    ids=["comment", "docstring", "message", "attribute docstrings", "annotation", "import", "function", "tracking"],
)
def test_what_changes_no_result_makes_nothing_stale(source: Source, name: str, edit: Edit) -> None:
    assert source.changed_by(name, edit) == set()


def test_a_new_network_and_a_new_layout_make_nothing_stale(source: Source) -> None:
    before = {recipe: source.digests(recipe) for recipe in ("d3d", "tsn", "alstm")}
    for folder, register in (("models", "register_model"), ("data/layouts", 'register_layout("mine")')):
        module = f"kineflow.{folder.replace('/', '.')}.registry"
        text = f"from {module} import {register.split('(')[0]}\n\n\n@{register}\ndef mine(**_): ...\n"
        (source.folder / "kineflow" / folder / "mine.py").write_text(text)
    assert {recipe: source.digests(recipe) for recipe in before} == before


def test_moving_code_makes_nothing_stale(source: Source) -> None:
    before = source.digests()
    path = source.folder / "kineflow" / "storage" / "files.py"
    text, mark = path.read_text(), "def sha256_of"
    kept, moved = text.split(mark)
    path.write_text(f"from kineflow.storage.hashes import sha256_of as sha256_of\n{kept}")
    path.with_name("hashes.py").write_text(f"import hashlib\nfrom pathlib import Path\n\n\n{mark}{moved}")
    assert source.digests() == before


def test_what_a_name_stands_for_counts(source: Source) -> None:
    changed = source.changed_by("kineflow/data/ingested.py", replaced("import csv\n", "import json as csv\n"))
    assert changed == {"ingest"}


def test_a_constant_of_the_flow_is_the_flows_alone(source: Source) -> None:
    assert source.changed_by("kineflow/flow/solvers/pyramid.py", replaced("1", "2")) == {"extract-flow"}


def test_a_network_counts_where_the_parameters_name_it(source: Source) -> None:
    assert source.changed_by("kineflow/models/googlenet.py", replaced("64", "65")) == set()
    assert "attention" in source.changed_by("kineflow/models/googlenet.py", replaced("65", "66"), "alstm")
    trained = {"pretrain", "teacher", "plain", "distilled", "student", "evaluate"}
    assert source.changed_by("kineflow/models/s3d.py", replaced("64", "65")) >= trained
    assert source.digests()["validate"] == source.digests(network={"architecture": "s3d"})["validate"]
    assert source.digests()["teacher"] != source.digests(network={"architecture": "s3d"})["teacher"]


def test_a_default_of_a_section_counts(source: Source) -> None:
    changed = source.changed_by("kineflow/data/ingest_settings.py", replaced("Field(20,", "Field(21,"))
    assert changed == {"ingest"}


def test_templates_count_with_the_code_that_fills_them(source: Source) -> None:
    template = "kineflow/evaluation/report/page.html.j2"
    assert source.changed_by(template, lambda text: text + "<!-- changed -->") == {"evaluate"}


def test_a_network_of_the_users_own_counts_with_what_it_imports(source: Source) -> None:
    project = source.folder / "mine"
    (project / "nets").mkdir(parents=True)
    (project / "nets" / "shift.py").write_text(
        "from kineflow.models.registry import register_model\nfrom nets.parts import SIZE\n\n\n"
        "@register_model\ndef shift(**_): return SIZE\n"
    )
    (project / "nets" / "parts.py").write_text("SIZE = 3\n")
    named = {"network": {"architecture": "nets.shift"}}
    before = source.digests(project=project, **named)
    (project / "nets" / "parts.py").write_text("SIZE = 4  # more\n")
    after = source.digests(project=project, **named)
    assert before["ingest"] == after["ingest"]
    assert before["pretrain"] != after["pretrain"]
    assert before["student"] != after["student"]


def test_every_function_that_runs_has_been_counted(tiny_data: Any, tiny_initial: Any, tmp_path: Path) -> None:
    """The digest follows names; this follows what is called."""
    from components.train import train
    from kineflow.models.registry import import_networks
    from kineflow.training.settings import TrainSettings

    import_networks()  # files register what they define as they are imported
    settings = TrainSettings(
        frames=4, short_side=16, crop=16, steps=2, validate_every_steps=1, batch_size=2, flip=False, cache_mb=16
    )

    def work(name: str) -> None:
        train(
            clips=tiny_data.clips, flow=tiny_data.flow, initial=tiny_initial["flow"],
            params=settings, name="teacher", seed=1, model=tmp_path / name,
        )  # fmt: skip

    work("first")  # imports everything
    called: set[tuple[str, str]] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_flags & inspect.CO_OPTIMIZED and code.co_filename.startswith(str(ROOT)):
            name = Path(code.co_filename).relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
            if name.startswith(("kineflow.", "components.")):
                called.add((name.removesuffix(".__init__"), code.co_qualname.split(".")[0]))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        work("second")
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    reached = Code(ROOT, tmp_path).reach(("components.train", "train"), {"s3d", "s3d_g", "cross_entropy"}).places
    carried = {place for place in called if place[0].startswith(step_digest._CARRIERS)}
    assert len(called) > 50
    assert called - carried - reached == set()
