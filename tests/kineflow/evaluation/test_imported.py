"""Scores of other tools, for late fusion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kineflow.evaluation.fusion import fuse
from kineflow.evaluation.imported import read_imported
from kineflow.evaluation.scores import Scores
from kineflow.storage.errors import KineflowError

CLASSES = ("jump", "run", "walk")
CLIPS = ("run/v_run_g01_c01", "walk/v_walk_g02_c03")


def network() -> Scores:
    logits = np.array([[0.0, 2.0, 1.0], [0.0, 1.5, 1.0]], dtype=np.float32)
    return Scores("net", CLIPS, np.array([1, 2]), CLASSES, logits, "test")


def write(folder: Path, text: str) -> Path:
    path = folder / "idt.csv"
    path.write_text(text, encoding="utf-8")
    return path


GOOD = """clip,walk,jump,run
v_walk_g02_c03,3,0,-4
other/clip,9,9,9
run/v_run_g01_c01,-1,0.5,2e0
"""


def test_rows_and_columns_are_put_in_the_order_of_the_models(tmp_path: Path) -> None:
    imported = read_imported(write(tmp_path, GOOD), model="idt", like=network())
    assert imported.model == "idt"
    assert imported.clip_ids == CLIPS
    assert imported.split == "test"
    assert imported.logits.tolist() == [[0.5, 2.0, -1.0], [0.0, -4.0, 3.0]]


def test_l2_scales_each_clip(tmp_path: Path) -> None:
    imported = read_imported(write(tmp_path, GOOD), model="idt", like=network(), normalise="l2")
    np.testing.assert_allclose(np.linalg.norm(imported.logits, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(imported.logits[1], [0, -0.8, 0.6], rtol=1e-6)


def test_all_zero_scores_stay_zero(tmp_path: Path) -> None:
    zeros = write(tmp_path, "clip,walk,jump,run\n" + "".join(f"{clip},0,0,0\n" for clip in CLIPS))
    assert not read_imported(zeros, model="idt", like=network(), normalise="l2").logits.any()


def test_fusion_can_change_the_answer(tmp_path: Path) -> None:
    both = fuse([network(), read_imported(write(tmp_path, GOOD), model="idt", like=network())], on="logits")
    assert network().predictions().tolist() == [1, 1]
    assert both.predictions().tolist() == [1, 2]
    assert both.model == "net + idt"


def test_a_file_name_shared_by_two_clips_names_neither(tmp_path: Path) -> None:
    like = Scores("net", ("a/same", "b/same"), np.array([0, 1]), CLASSES, np.zeros((2, 3), np.float32), "test")
    rows = "clip,jump,run,walk\na/same,1,2,3\nsame,4,5,6\n"
    with pytest.raises(KineflowError, match="1 of 2 clips have no scores: b/same"):
        read_imported(write(tmp_path, rows), model="idt", like=like)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("video,walk,jump,run\n", "called 'video'"),
        ("clip,walk,jump\n", "no column for class 'run'"),
        ("clip,walk,jump,run,fly\n", "'fly' is no class"),
        ("clip,walk,jump,run,run\n", "'run' is there twice"),
        ("clip,walk,jump,run\nv_run_g01_c01,1,2\n", "3 cells where the header has 4"),
        ("clip,walk,jump,run\nv_run_g01_c01,1,x,2\n", "line 2.*'x' in column 3|'x' in column 3"),
        ("clip,walk,jump,run\nv_run_g01_c01,1,nan,2\n", "no finite number"),
        ("clip,walk,jump,run\nv_run_g01_c01,1,0,2\nrun/v_run_g01_c01,1,0,2\n", "listed twice"),
        ("clip,walk,jump,run\nv_run_g01_c01,1,0,2\n", "1 of 2 clips have no scores: walk/v_walk_g02_c03"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(KineflowError, match=message):
        read_imported(write(tmp_path, text), model="idt", like=network())


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(KineflowError, match="CSV"):
        read_imported(path, model="idt", like=network())
    with pytest.raises(KineflowError, match="CSV"):
        read_imported(tmp_path / "missing.csv", model="idt", like=network())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.floats(-1e3, 1e3, width=32), min_size=6, max_size=6),
    columns=st.permutations(CLASSES),
    rows=st.permutations(range(2)),
)
def test_what_is_written_is_read(tmp_path: Path, values: list[float], columns: list[str], rows: list[int]) -> None:
    table = np.array(values, dtype=np.float32).reshape(2, 3)
    lines = [f"clip,{','.join(columns)}"]
    lines += [f"{CLIPS[n]},{','.join(repr(float(table[n, CLASSES.index(name)])) for name in columns)}" for n in rows]
    imported = read_imported(write(tmp_path, "\n".join(lines)), model="idt", like=network())
    assert np.array_equal(imported.logits, table)
