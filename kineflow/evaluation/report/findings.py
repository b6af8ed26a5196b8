"""What a reader must not miss, in words: a model that a trivial baseline equals, and one that always says the same."""

from __future__ import annotations

import numpy as np

from kineflow.evaluation.results import Evaluation
from kineflow.evaluation.scores import Scores

ONE_ANSWER_SHARE = 0.9


def against_trivial(evaluation: Evaluation) -> str:
    """Whether the student beats the best trivial baseline, as a sentence; empty where there is none."""
    best = evaluation.best_trivial
    if best is None:
        return ""
    student = evaluation.scores_of(evaluation.student)
    gain = evaluation.gain(student, best)
    name, figure = f"the best trivial baseline, {best.model}", f"{evaluation.summary_of(best).top1:.1%}"
    if gain.value <= 0:
        return f"{evaluation.student} does not beat {name} ({figure})"
    if gain.low <= 0:
        return f"{evaluation.student} is above {name} ({figure}), but by no more than chance may give"
    return f"{evaluation.student} beats {name} ({figure})"


def is_beaten(evaluation: Evaluation) -> bool:
    """Whether a trivial baseline does as well as the student, for all that can be told."""
    best = evaluation.best_trivial
    return best is not None and evaluation.gain(evaluation.scores_of(evaluation.student), best).low <= 0


def one_answer(scores: Scores) -> str:
    """A warning where a model gives one class nearly always, as a sentence; else empty."""
    answers = np.bincount(scores.predictions(), minlength=len(scores.classes))
    most = int(answers.argmax())
    share = float(answers[most] / len(scores))
    if share <= ONE_ANSWER_SHARE or len(scores.classes) < 2:
        return ""
    truth = float(scores.is_of(most).mean())
    return (
        f"{scores.model} says “{scores.classes[most]}” of {share:.0%} of the clips, and {truth:.0%} are of that class: "
        "it hardly looks at them"
    )
