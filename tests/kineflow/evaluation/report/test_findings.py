"""What the report says in words, of a model and of its training."""

from __future__ import annotations

import numpy as np
import pytest

from kineflow.evaluation.report.curve_advice import advice
from kineflow.evaluation.report.findings import against_trivial, is_beaten, one_answer
from kineflow.evaluation.results import Evaluated, Evaluation
from kineflow.evaluation.scores import Scores


def scores(name, right, clips=100):
    labels = np.arange(clips) % 2
    answers = np.where(np.arange(clips) < right, labels, 1 - labels)
    ids = tuple(map(str, range(clips)))
    return Scores(name, ids, labels, ("a", "b"), np.eye(2, dtype=np.float32)[answers], "test")


@pytest.mark.parametrize(
    ("right", "beaten", "words"),
    [
        (60, True, "does not beat the best trivial baseline, motion energy (70.0%)"),
        (70, True, "does not beat"),
        (72, True, "by no more than chance may give"),
        (95, False, "student beats the best trivial baseline, motion energy"),
    ],
)
def test_a_student_that_something_trivial_equals(right, beaten, words):
    trivial = (scores("class prior", 50), scores("motion energy", 70))
    evaluation = Evaluation((Evaluated(scores("student", right), "rgb", 1),), (), "student", trivial=trivial)
    assert is_beaten(evaluation) is beaten
    assert words in against_trivial(evaluation)


def test_a_model_with_one_answer():
    labels = np.arange(100) % 2
    answers = np.zeros(100, int)
    answers[:9] = 1
    made = Scores("m", tuple(map(str, range(100))), labels, ("a", "b"), np.eye(2, dtype=np.float32)[answers])
    assert "m says “a” of 91% of the clips, and 50% are of that class" in one_answer(made)
    assert one_answer(scores("m", 80)) == ""


def curves(val, train):
    return {
        "val/loss": [(10.0 * step, value) for step, value in enumerate(val, 1)],
        "train/cross_entropy": [(10.0 * step, value) for step, value in enumerate(train, 1)],
    }


@pytest.mark.parametrize(
    ("val", "train", "words"),
    [
        ([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3], [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3], "more steps would help"),
        ([1.0, 0.6, 0.5, 0.6, 0.8, 1.0, 1.2, 1.4], [0.9, 0.5, 0.3, 0.1, 0.1, 0.1, 0.1, 0.1], "lowest at step 30 and"),
        ([0.9, 0.7, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6], [0.9, 0.5, 0.3, 0.1, 0.1, 0.1, 0.1, 0.1], "more labels"),
        ([1.1, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1], [1.1, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1], "that of guessing"),
        ([0.9, 0.7, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5], [0.9, 0.6, 0.5, 0.45, 0.45, 0.45, 0.45, 0.45], "larger network"),
    ],
)
def test_what_curves_suggest(val, train, words):
    assert words in advice(curves(val, train), num_classes=3)


def test_short_curves_say_nothing():
    assert advice(curves([1.0, 0.5], [1.0, 0.5]), 3) == advice({}, 3) == ""
