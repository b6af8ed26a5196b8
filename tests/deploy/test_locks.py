"""The locked requirements of the image, and what is said of an audit of them."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "deploy" / "locks"


def pinned(file: Path) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)==([^\s\\;]+)", file.read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


@pytest.mark.parametrize("torch", ["torch-cuda.txt", "torch-cpu.txt"])
def test_locks_hold_what_the_image_needs(torch: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *extras["cluster"], *extras["export"], *extras["imagenet"], *extras["server"]]
    needed += extras["transformers"]
    needed += extras["gpu"] if torch == "torch-cuda.txt" else []
    held = pinned(LOCKS / "requirements.txt") | pinned(LOCKS / torch)
    for requirement in map(Requirement, needed):
        assert requirement.specifier.contains(held[canonicalize_name(requirement.name)]), requirement


def test_locks_and_constraints_are_of_one_mind() -> None:
    constraints = pinned(ROOT / "constraints.txt")
    for lock in LOCKS.iterdir():
        for name, version in pinned(lock).items():
            assert version.split("+")[0] == constraints.get(name, version), f"{lock.name}: {name}; run deploy/lock.sh"


def test_every_locked_package_has_a_hash() -> None:
    for lock in LOCKS.iterdir():
        for entry in re.split(r"\n(?=\S)", lock.read_text().strip()):
            assert "--hash=sha256:" in entry


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / "deploy" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("found", "code", "words"),
    [
        ([{"name": "a", "version": "1", "vulns": []}], 0, "1 packages audited"),
        (
            [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}],
            1,
            "a 1: CVE-1; fixed in 2",
        ),
        ([{"name": "a", "skip_reason": "not found"}, {"name": "b", "version": "1", "vulns": []}], 0, "1 of 2 packages"),
        ([{"name": "a", "skip_reason": "not found"}], 0, "NOT been audited"),
        ([], 0, "NOT been audited"),
    ],
)
def test_what_was_not_audited_is_said(
    audit: ModuleType, capsys: pytest.CaptureFixture[str], found: list[dict[str, object]], code: int, words: str
) -> None:
    assert audit.report(found) == code
    printed = capsys.readouterr()
    assert words in printed.out + printed.err
