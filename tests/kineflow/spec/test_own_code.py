"""Which code a name may reach: a card's name comes from anybody."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kineflow.data.layouts.registry import check_layout, find_layout
from kineflow.models.registry import check_model
from kineflow.spec.own_code import GROUP, import_own, own_module
from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError
from kineflow.storage.project import PROJECT
from kineflow.training.losses.registry import find_loss
from kineflow.training.settings import TrainSettings

LOSS = """\
from kineflow.training.losses.registry import register_loss


@register_loss
def {name}(logits, labels, *, gamma=2.0):
    return gamma * logits.mean()
"""
LAYOUT = """\
from kineflow.data.layouts.registry import register_layout


@register_layout("lab")
def list_lab(lists, videos, *, split_number):
    return "listed"
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.delenv(PROJECT, raising=False)
    (tmp_path / "project" / ".dvc").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    before = set(sys.modules)
    yield tmp_path / "project"
    assert str(tmp_path / "project") not in sys.path
    for name in set(sys.modules) - before:
        if name.startswith("own_"):
            del sys.modules[name]


def put(folder: Path, name: str, text: str, *, packaged: bool = True) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if packaged:
        (path.parent / "__init__.py").touch()
    return path


@pytest.mark.parametrize("file", ["own_a/focal.py", "own_a/__init__.py", "own_a/losses.py"])
def test_a_function_is_found_in_its_module_or_the_one_around_it(project: Path, file: str) -> None:
    name = {"own_a/losses.py": "own_a.losses.focal"}.get(file, "own_a.focal")
    put(project, file, LOSS.format(name="focal"))
    assert find_loss(name).__name__ == "focal"  # type: ignore[attr-defined]
    assert parse_params(TrainSettings, {"loss": name, "loss_options": {"gamma": 1.0}}, where="t").loss == name
    with pytest.raises(KineflowError, match="takes no 'label_smoothing'"):
        parse_params(TrainSettings, {"loss": name, "label_smoothing": 0.1}, where="t")


def test_a_layout_goes_by_its_registered_name(project: Path) -> None:
    put(project, "own_b/lab.py", LAYOUT)
    assert find_layout("own_b.lab")(None, None, split_number=1) == "listed"  # type: ignore[arg-type, comparison-overlap]
    with pytest.raises(
        KineflowError, match=r"no function 'list_lab' under @register_layout(.|\n)*put @register_layout"
    ):
        check_layout("own_b.lab.list_lab")


def test_what_registers_nothing_is_not_even_imported(project: Path) -> None:
    put(project, "own_c/harm.py", "open('harmed', 'w')\n\n\ndef harm(**_): ...\n")
    with pytest.raises(KineflowError, match="under @register_model"):
        check_model("own_c.harm")
    with pytest.raises(KineflowError, match="under @register_loss"):
        find_loss("own_c.harm")
    assert not Path("harmed").exists()


def test_a_module_that_breaks_is_named(project: Path) -> None:
    put(project, "own_d/focal.py", LOSS.format(name="focal") + "\n1 / 0\n")
    with pytest.raises(KineflowError, match=r"focal\.py: own_d.focal cannot be imported: ZeroDivisionError"):
        find_loss("own_d.focal")


@pytest.mark.parametrize(
    "name", ["os", "torch.hub", "kineflow.models.s3d", "tests.swift", "own_e.far", "..x", "own-e.x"]
)
def test_what_lies_elsewhere_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    put(project.parent, "own_e/far.py", LOSS.format(name="far"))
    monkeypatch.syspath_prepend(project.parent)
    assert own_module(name) is None
    with pytest.raises(KineflowError, match=GROUP):
        import_own(name)


def test_folders_without_code_are_refused(project: Path) -> None:
    put(project, "data/far.py", LOSS.format(name="far"))
    put(project, "own_f/far.py", LOSS.format(name="far"), packaged=False)
    outside = put(project.parent, "far.py", LOSS.format(name="far"), packaged=False)
    put(project, "own_g/near.py", "")
    (project / "own_g" / "far.py").symlink_to(outside)
    assert [own_module(f"{package}.far") for package in ("data", "own_f", "own_g")] == [None] * 3


def test_another_module_of_the_name_is_in_the_way(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(project.parent / "path", "own_h/focal.py", LOSS.format(name="focal"))
    monkeypatch.syspath_prepend(project.parent / "path")
    put(project, "own_h/focal.py", LOSS.format(name="focal"))
    with pytest.raises(KineflowError, match="another 'own_h'"):
        find_loss("own_h.focal")


def test_an_installed_distribution_says_that_it_is_for_kineflow(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = project.parent / "site"
    put(site, "own_i/focal.py", LOSS.format(name="focal"))
    monkeypatch.syspath_prepend(site)
    with pytest.raises(KineflowError, match="in no module"):
        find_loss("own_i.focal")
    put(site, "own_i-1.dist-info/METADATA", "Name: own-i\nVersion: 1\n", packaged=False)
    put(site, "own_i-1.dist-info/entry_points.txt", f"[{GROUP}]\nown_i = own_i\n", packaged=False)
    assert find_loss("own_i.focal").__name__ == "focal"  # type: ignore[attr-defined]
