"""Two processes, for real: what they learn together is what one learns alone from the same batches."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).with_name("together.py")
# Sums in another order: float32 has 6e-8 of relative rounding, which a few steps of SGD hardly amplify.
CURVES = {"rel": 1e-5, "abs": 1e-6}
WEIGHTS = {"rtol": 1e-4, "atol": 2e-5}

Results = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What one process and two processes wrote, each in a folder of its own."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    how = {"one": [], "two": launcher}
    written = {name: tmp_path_factory.mktemp(name) for name in how}
    environment = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE")}
    running = [
        subprocess.Popen(
            [sys.executable, *before, str(PROGRAM), str(written[name])],
            env={**environment, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name, before in how.items()
    ]
    outputs = [process.communicate(timeout=570)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], "\n".join(outputs)
    return written


@pytest.fixture(scope="module")
def one(folders: dict[str, Path]) -> Results:
    return {path.stem: torch.load(path) for path in folders["one"].glob("*.pt")}


@pytest.fixture(scope="module")
def two(folders: dict[str, Path]) -> Results:
    return {path.stem: torch.load(path) for path in folders["two"].glob("*.pt")}


def assert_same_curves(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert [row[:2] for row in found["curves"]] == [row[:2] for row in expected["curves"]]
    assert [row[2] for row in found["curves"]] == pytest.approx([row[2] for row in expected["curves"]], **CURVES)
    assert found["figures"] == pytest.approx(expected["figures"], **CURVES)
    assert found["kept_step"] == expected["kept_step"]


TRAININGS = [
    "classification", "adamw", "clipping", "distillation", "auxiliary", "tsn", "staged", "st_resnet", "recurrent_mean",
    "recurrent_sum", "one_clip_to_validate", "in_parts",
]  # fmt: skip


@pytest.mark.parametrize("name", TRAININGS)
def test_the_curves_and_the_weights_are_those_of_one_process(one: Results, two: Results, name: str) -> None:
    assert_same_curves(two[name], one[name])
    assert [step for step, figure, _ in two[name]["curves"] if figure == "val/loss"] == [2, 4, 6]
    torch.testing.assert_close(two[name]["weights"], one[name]["weights"], **WEIGHTS)


def test_clipping_a_gradient_changes_what_is_learnt(one: Results) -> None:
    """With SGD; AdamW's steps hardly change when all gradients are scaled, so that a wrong bound would not show."""
    assert one["clipping"]["curves"] != one["classification"]["curves"]


def test_normalisation_sees_the_whole_batch(one: Results, two: Results) -> None:
    """Forward, backward and running statistics, in training and frozen, for values around 100."""
    torch.testing.assert_close(two["normalisation"], one["normalisation"], rtol=1e-5, atol=1e-4)


def test_a_loss_that_is_not_finite_in_one_process_stops_all(two: Results) -> None:
    for scenario in ("not_finite_in_one_process", "not_finite_read_late"):
        assert two[scenario]["error"].startswith("the loss became nan at step 0\n")


def test_a_batch_that_cannot_be_shared_is_refused_with_a_remedy(two: Results) -> None:
    assert two["cannot_be_shared"]["error"].startswith("3 clips a step cannot be shared evenly by 2 processes\n")
    assert "unlabelled_batch_size" in two["cannot_be_shared"]["error"]


def test_dropout_differs_between_processes_and_steps(two: Results) -> None:
    masks = two["masks"]["masks"]
    assert masks.shape[:2] == (4, 6)
    assert not torch.equal(masks[:2], masks[2:])
    assert not torch.equal(masks[:, 0], masks[:, 1])


def test_the_first_process_alone_leaves_files(folders: dict[str, Path]) -> None:
    left = {path.name for path in (folders["two"] / "work" / "classification").iterdir()}
    assert left == {"kept.ckpt", "last.ckpt", "curves.csv"}


def test_one_process_goes_on_where_two_have_stopped(folders: dict[str, Path], one: Results, tmp_path: Path) -> None:
    shutil.copytree(folders["two"] / "work" / "two_rounds_of_three", tmp_path / "work")
    assert_same_curves(program().classification(tmp_path / "work"), one["classification"])


def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("together", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
