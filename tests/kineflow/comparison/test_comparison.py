from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kineflow.comparison.comparison import compare
from kineflow.comparison.page import render
from kineflow.comparison.records import RunRecord, find_runs
from kineflow.comparison.words import gain_in_words
from kineflow.evaluation.results import Evaluated, Evaluation, write_evaluation
from kineflow.evaluation.scores import Scores
from kineflow.registry.paired import Paired
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.scoring_protocol import ScoringProtocol
from kineflow.tracking.parent import ParentRecord, record_parent
from kineflow.tracking.runs import open_step_run

pytestmark = pytest.mark.slow

CLASSES = ("left", "<script>")
LABELS = np.array([0, 1] * 20, dtype=np.int64)
NASTY = "<img src=x>"


def judged(run: str, right: np.ndarray, clips: str, members: int) -> None:
    """A run of whose student some clips are right, recorded with its evaluation."""
    answers = np.where(right, LABELS, 1 - LABELS)
    scores = Scores(
        "student", tuple(f"clip{n}" for n in range(40)), LABELS, CLASSES, np.eye(2, dtype=np.float32)[answers], "test"
    )
    sees = Preprocessing("rgb", 8, 1, 64, 64, (0.0,) * 3, (1.0,) * 3)
    evaluation = Evaluation((Evaluated(scores, "rgb", 10, sees),), (), "student")
    folder = Path(f"evaluation-{run}")
    folder.mkdir()
    write_evaluation(folder, evaluation, version=clips, protocol=ScoringProtocol("ten clips", {"windows": 10}))
    tags = {"evaluation.data_version": clips, "evaluation.split": "test", "evaluation.protocol": "ten clips"}
    with open_step_run("evaluate", params={}, experiment="d3d", pipeline_run_id=run) as step:
        step.record({"student/top1": float(right.mean())}, {"evaluation": folder}, tags)
    record_parent(run, lambda: ParentRecord({"members": members, "same": 1, "name": NASTY}))


@pytest.fixture
def records(project: Path) -> list[RunRecord]:
    """Two runs on the same clips, and one on others."""
    first = np.arange(40) < 20
    judged("run-1", first, "a" * 64, 1)
    judged("run-2", first | (np.arange(40) % 2 == 0), "a" * 64, 2)
    judged("run-3", first, "b" * 64, 2)
    return find_runs(["run-1", "run-2", "run-3"])


def test_only_runs_of_the_same_clips_are_compared_and_by_single_clips(records: list[RunRecord]) -> None:
    together, alone = compare(records, closely=True).groups
    assert ([each.id for each in together.records], [each.id for each in alone.records]) == (
        ["run-1", "run-2"], ["run-3"]
    )  # fmt: skip
    (change,) = together.changes
    assert isinstance(change.gain, Paired)
    assert change.gain.value == pytest.approx(0.25)
    assert 0 < change.gain.low < 0.25 < change.gain.high < 0.5
    assert [(row.name, row.change, row.clips) for row in change.classes] == [("left", 0.5, 20), ("<script>", 0.0, 20)]
    assert alone.changes == ()


def test_parameters_that_differ_are_named(records: list[RunRecord]) -> None:
    comparison = compare(records, closely=True)
    assert comparison.params == {"members": ["1", "2", "2"]}
    plain = json.loads(json.dumps(comparison.plain()))
    assert plain["params"]["members"] == {"run-1": "1", "run-2": "2", "run-3": "2"}
    assert plain["groups"][0]["changes"][0]["gain"]["clips"] == 40


def test_a_page_shows_it_and_runs_nothing_of_what_it_shows(records: list[RunRecord]) -> None:
    html = render(compare([*records[:2]], closely=True))
    assert "+25.0 points of top-1" in html
    assert "gained: left +50.0" in html
    assert "<script>" not in html
    assert NASTY not in html


def test_a_difference_within_chance_is_said_to_be() -> None:
    assert gain_in_words(Paired(0.1, 0.05, 0.2, 9)) == "+10.0 points of top-1 (95 % interval +5.0 to +20.0, 9 clips)"
    assert gain_in_words(Paired(-0.1, -0.2, 0.05, 9)).endswith("9 clips; may be chance)")
