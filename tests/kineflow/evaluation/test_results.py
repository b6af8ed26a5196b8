"""The evaluation folder says what was measured, and other steps can read it."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from kineflow.evaluation.curves import read_curves
from kineflow.evaluation.fusion import fuse
from kineflow.evaluation.results import (
    Evaluated,
    Evaluation,
    Fused,
    evaluation_metrics,
    write_evaluation,
)
from kineflow.evaluation.scores import Scores
from kineflow.registry.measured import read_evaluation
from kineflow.registry.outcomes import outcomes_of
from kineflow.sets.clip_set import Clip, clips_digest
from kineflow.spec.scoring_protocol import ScoringProtocol
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError

LABELS = [0, 0, 1, 1]
FIGURES = {"top1", "top5", "mean_class_accuracy", "top1_low", "top1_high", "auc", "average_precision", "ece", "brier"}

PROTOCOL = ScoringProtocol("1 window", {"windows": 1})


def scores(model, predicted):
    logits = np.eye(3, dtype=np.float32)[np.array(predicted)]
    return Scores(model, tuple("abcd"), np.array(LABELS), ("jump", "run", "sit"), logits, "test")


def evaluation(**changes):
    plain, student = scores("plain", [0, 1, 0, 0]), scores("student", [0, 0, 1, 2])
    fused = Fused(fuse([student, plain], [3, 1]), ("student", "plain"), (0.75, 0.25))
    models = (Evaluated(plain, "rgb", 10), Evaluated(student, "rgb", 10))
    return Evaluation(**{"models": models, "fusions": (fused,), "student": "student", "baseline": "plain"} | changes)


def rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def folder(tmp_path):
    write_evaluation(tmp_path, evaluation(), version="abc", protocol=PROTOCOL)
    return tmp_path


def test_metrics_hold_models_fusions_and_data(folder):
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(metrics) == {"plain", "student", "fusion", "baselines", "data"}
    assert set(metrics["plain"]) == FIGURES
    assert (metrics["plain"]["top1"], metrics["student"]["top1"]) == (0.25, 0.75)
    assert metrics["fusion"]["student + plain"]["top1"] == 0.75
    assert metrics["fusion"]["student + plain"]["weights"] == {"student": 0.75, "plain": 0.25}
    assert metrics["data"] == {
        "split": "test", "clips": 4, "classes": 3, "student": "student", "version": "abc", "protocol": "1 window",
        "protocol_sha256": ScoringProtocol("one window", {"windows": 1}).digest, "clip_set": "",
    }  # fmt: skip


def test_score_files_are_those_of_the_models(folder):
    loaded = Scores.load(folder / "scores" / "student.parquet")
    assert loaded.predictions().tolist() == [0, 0, 1, 2]
    assert loaded.split == "test"
    assert sorted(path.name for path in (folder / "scores").iterdir()) == ["plain.parquet", "student.parquet"]


def test_class_rows_hold_accuracy_and_change(folder):
    student = [row for row in rows(folder / "per_class.csv") if row["model"] == "student"]
    assert student == [
        {"model": "student", "class": "jump", "clips": "2", "accuracy": "1", "change_from_baseline": "0.5"},
        {"model": "student", "class": "run", "clips": "2", "accuracy": "0.5", "change_from_baseline": "0.5"},
        {"model": "student", "class": "sit", "clips": "0", "accuracy": "", "change_from_baseline": ""},
    ]


def test_without_a_baseline_there_is_no_change(tmp_path):
    write_evaluation(tmp_path, evaluation(baseline=None), version="abc", protocol=PROTOCOL)
    assert {row["change_from_baseline"] for row in rows(tmp_path / "per_class.csv")} == {""}


def test_confusion_rows_add_up_to_the_clips(folder):
    student = [row for row in rows(folder / "confusion.csv") if row["model"] == "student"]
    assert {"model": "student", "true": "run", "predicted": "sit", "clips": "1"} in student
    assert sum(int(row["clips"]) for row in student) == 4


def test_the_promotion_policy_can_read_the_folder(folder):
    found = read_evaluation(folder, "student")
    assert (found.metrics["top1"], found.metrics["per_class/run"]) == (0.75, 0.5)
    assert (found.clips_digest, found.clips, found.protocol) == ("abc", 4, "1 window")


def test_the_gate_finds_groups_beside_the_answers(tmp_path):
    write_evaluation(tmp_path, evaluation(groups=("x", "x", "y", "y")), version="abc", protocol=PROTOCOL)
    found = outcomes_of(tmp_path, "student")
    assert (found.groups, found.ranks.tolist()) == (("x", "x", "y", "y"), [0, 0, 0, 2])


def test_flat_metrics_name_models_and_fusions():
    metrics = evaluation_metrics(evaluation())
    assert metrics["student/top1"] == 0.75
    assert metrics["fusion/student and plain/top1"] == 0.75
    assert len(metrics) == 3 * len(FIGURES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"student": "studnet"}, r"unknown model 'studnet'\n.*'plain', 'student'"),
        ({"baseline": "none"}, "unknown model 'none'"),
        ({"models": (Evaluated(scores("a", LABELS), "rgb", 1),) * 2}, "several models are named 'a'"),
        ({"models": (Evaluated(scores("fusion", LABELS), "rgb", 1),)}, "cannot be named 'fusion'"),
    ],
)
def test_names_are_checked(changes, message):
    with pytest.raises(KineflowError, match=message):
        evaluation(**changes)


def test_a_model_name_cannot_lead_out_of_the_folder(tmp_path):
    models = (Evaluated(scores("../../escaped", LABELS), "rgb", 1),)
    escaped = evaluation(models=models, fusions=(), student="../../escaped", baseline=None)
    with pytest.raises(KineflowError, match="outside its root"):
        write_evaluation(tmp_path / "out", escaped, version="", protocol=PROTOCOL)


def test_models_scored_on_other_clips_are_refused():
    other = dataclasses.replace(scores("other", LABELS), clip_ids=tuple("abce"))
    with pytest.raises(KineflowError, match="cannot be compared"):
        evaluation(models=(Evaluated(scores("student", LABELS), "rgb", 1), Evaluated(other, "rgb", 1)), baseline=None)


def clip(name, label, sha256):
    return Clip(name, f"{name}.mp4", label, "g", Split.TEST, 9, 25.0, 8, 8, 0, sha256, Status.OK, "", name)


def test_the_data_version_follows_content_and_labels_alone():
    version = clips_digest([clip("a", "run", "11"), clip("b", None, "22")])
    assert version == clips_digest([clip("renamed", None, "22"), clip("a", "run", "11")])
    assert len(version) == 64
    assert version != clips_digest([clip("a", "jump", "11"), clip("b", None, "22")])
    assert version != clips_digest([clip("a", "run", "12"), clip("b", None, "22")])
    assert version != clips_digest([clip("a", "run", "11")])


def test_curves_are_read_in_order_of_steps(tmp_path):
    (tmp_path / "curves.csv").write_text("step,name,value\n2,loss,0.5\n1,loss,1\n1,top1,0.25\n3,loss,nan\n1,gone,inf\n")
    assert read_curves(tmp_path) == {"loss": [(1, 1), (2, 0.5)], "top1": [(1, 0.25)]}


def test_a_bundle_without_curves_has_none(tmp_path):
    assert read_curves(tmp_path) == {}


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "step,name,value\n1,loss,1\n2,loss,low\n", "step,name,value\n1\n"])
def test_broken_curves_are_named(tmp_path, content):
    (tmp_path / "curves.csv").write_text(content)
    with pytest.raises(KineflowError, match=r"curves\.csv, line \d"):
        read_curves(tmp_path)
