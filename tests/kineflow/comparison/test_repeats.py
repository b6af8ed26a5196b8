"""Runs by seeds and splits: what tables and intervals are made of."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from kineflow.comparison.repeats import Repeat, RepeatsReport, RunState, repeated
from kineflow.comparison.repeats_page import write_page
from kineflow.evaluation.intervals import mean_interval, student_quantile
from kineflow.evaluation.scores import Scores
from kineflow.storage.errors import KineflowError

CLIPS = 40


def evaluation(folder: Path, *, first_clip: int = 0, **right: int) -> Path:
    """An evaluation of 40 clips of which each model has the first so many right."""
    metrics: dict[str, object] = {"data": {}, "fusion": {}, "baselines": {"class prior": {"top1": 0.5}}}
    for model, count in right.items():
        if "+" not in model:
            logits = np.zeros((CLIPS, 2), np.float32)
            logits[:count, 1] = 1
            logits[count:, 0] = 1
            ids = tuple(f"c{first_clip + number}" for number in range(CLIPS))
            scores = Scores(model, ids, np.ones(CLIPS, np.int64), ("a", "b"), logits, "test")
            (folder / "scores").mkdir(parents=True, exist_ok=True)
            scores.save(folder / "scores" / f"{model}.parquet")
            metrics[model] = {"top1": count / CLIPS, "top1_low": 0.0, "mean_class_accuracy": count / CLIPS}
        else:
            metrics["fusion"] = {model: {"top1": count / CLIPS, "weights": {"a": 0.5}}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def test_over_seeds_the_mean_the_deviation_and_the_wider_interval(tmp_path):
    rights = [(20, 30), (22, 28), (24, 35)]
    repeats = [
        Repeat(seed, None, evaluation(tmp_path / str(seed), plain=plain, student=student, **{"plain + student": 36}))
        for seed, (plain, student) in enumerate(rights, start=1)
    ]
    found = repeated(repeats, baseline="plain")
    assert (found.units, found.runs) == (("seed 1", "seed 2", "seed 3"), 3)
    figures = next(row for row in found.rows if row.name == "student").figures
    assert set(figures) == {"top1", "mean_class_accuracy"}
    student = figures["top1"]
    assert student.mean == pytest.approx(0.775)
    assert student.deviation == pytest.approx(np.std([30 / 40, 28 / 40, 35 / 40], ddof=1))
    difference, fused = found.differences
    gains = np.array([10, 6, 11]) / 40
    low, high = mean_interval(gains)  # of three seeds: wider than that over clips
    assert (difference.model, difference.baseline) == ("student", "plain")
    assert difference.over_all.value == pytest.approx(gains.mean())
    assert difference.over_all.low == pytest.approx(low)
    assert difference.over_all.high == pytest.approx(high)
    assert [gain.value for gain in difference.by_unit] == pytest.approx(list(gains))
    assert difference.by_unit[0].low > 0
    assert fused.model == "plain + student"
    assert fused.by_unit[0].low is None  # one run, and no answers to clips


def test_equal_seeds_do_not_make_a_difference_certain(tmp_path):
    repeats = [Repeat(seed, None, evaluation(tmp_path / str(seed), plain=20, student=21)) for seed in (1, 2)]
    over_all = repeated(repeats).differences[0].over_all
    assert over_all.low < 0 < over_all.high


def test_over_splits_each_counts_alike_however_many_seeds_it_has(tmp_path):
    """The papers' mean over three splits; of one, a seed is missing."""
    counts = {(1, 1): 20, (1, 2): 30, (2, 1): 32, (3, 1): 36, (3, 2): 40}
    repeats = [
        Repeat(seed, split, evaluation(tmp_path / f"{split}-{seed}", first_clip=100 * split, plain=10, student=count))
        for (split, seed), count in counts.items()
    ]
    found = repeated(repeats)
    assert found.units == ("split 1", "split 2", "split 3")
    student = found.rows[1]
    of_splits = [25 / 40, 32 / 40, 38 / 40]
    assert student.figures["top1"].values == pytest.approx(of_splits)
    assert student.figures["top1"].mean == pytest.approx(np.mean(of_splits))
    assert student.by_unit[0]["top1"].deviation == pytest.approx(np.std([0.5, 0.75], ddof=1))
    assert student.by_unit[1]["top1"].deviation is None
    gain = found.differences[0].over_all
    assert gain.value == pytest.approx(np.mean(of_splits) - 0.25)
    assert gain.low < gain.value < gain.high


def test_clips_of_several_classes_are_compared_by_their_precision(tmp_path):
    repeats = []
    for seed, precision in ((1, 0.5), (2, 0.7)):
        folder = evaluation(tmp_path / str(seed), plain=20, student=30)
        metrics = json.loads((folder / "metrics.json").read_text())
        metrics["data"] = {"multi_label": True}
        for name, value in (("plain", 0.25), ("student", precision)):
            metrics[name] = {"top1": metrics[name]["top1"], "average_precision": value}
        (folder / "metrics.json").write_text(json.dumps(metrics))
        repeats.append(Repeat(seed, None, folder))
    found = repeated(repeats)
    gain = found.differences[0].over_all
    low, high = mean_interval(np.array([0.25, 0.45]))
    assert (gain.value, gain.low, gain.high) == pytest.approx((0.35, low, high))
    assert found.differences[0].by_unit[0].low is None
    report = RepeatsReport("alstm", "kineflow run alstm --seeds 1,2", (), {"evaluate": found})
    write_page(tmp_path / "report.html", report)
    page = (tmp_path / "report.html").read_text()
    assert "<h3>mAP</h3>" in page
    assert "mAP above plain" in page


def test_a_page_shows_runs_that_failed_and_escapes_what_it_is_given(tmp_path):
    found = repeated([Repeat(1, None, evaluation(tmp_path / "1", plain=20, student=30))])
    states = (RunState("seed 1", "."), RunState("seed 2", "runs/x", "<b>no clips</b>"))
    report = RepeatsReport("d3d", "kineflow run d3d --seeds 1,2", states, {"evaluate": found})
    write_page(tmp_path / "report.html", report)
    page = (tmp_path / "report.html").read_text()
    assert "&lt;b&gt;no clips" in page
    assert "75.0" in page
    assert json.loads(json.dumps(report.plain()))["evaluations"]["evaluate"]["runs"] == 1


def test_a_missing_evaluation_is_named(tmp_path):
    with pytest.raises(KineflowError, match="no readable figures"):
        repeated([Repeat(1, None, tmp_path)])


@pytest.mark.parametrize(("freedom", "expected"), [(1, 12.7062), (2, 4.30265), (7, 2.36462), (30, 2.04227)])
def test_students_quantiles_are_those_of_the_tables(freedom, expected):
    assert math.isclose(student_quantile(freedom), expected, rel_tol=1e-5)
