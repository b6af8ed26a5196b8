"""From an evaluation to the page: words and numbers here, layout in ``page.html.j2``, looks in ``style.css``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kineflow.evaluation.intervals import groups_repeat
from kineflow.evaluation.metrics import Gain, confusion_of, per_class_accuracy, per_class_change, per_class_figures
from kineflow.evaluation.report import label_plot, plots, ranking_plots
from kineflow.evaluation.report.curve_advice import advice
from kineflow.evaluation.report.findings import against_trivial, is_beaten, one_answer
from kineflow.evaluation.results import FOLDS, Evaluated, Evaluation, Fused
from kineflow.evaluation.scores import Scores
from kineflow.evaluation.two_classes import threshold_of
from kineflow.storage.files import atomic_file
from kineflow.storage.page_policy import PAGE_POLICY, page_template

_CONFUSED_PAIRS = 8
_BEST_FEW = 5  # top-5 says something of more classes than that
_LEAST_SIDE_PX, _MOST_SIDE_PX = 146, 224  # of a picture on the page


@dataclass(frozen=True)
class Example:
    """A clip to show.

    Attributes:
        index: Its place among the scores.
        verdict: What happened to it; examples of one verdict are shown together.
        frames: JPEGs of a few frames.
        flow: JPEGs of their flow, as many; empty where there is none.
    """

    index: int
    verdict: str
    frames: tuple[bytes, ...]
    flow: tuple[bytes, ...] = ()


def write_report(
    path: Path,
    evaluation: Evaluation,
    *,
    title: str,
    examples: Sequence[Example] = (),
    wheel: bytes | None = None,
    lineage: Mapping[str, str] | None = None,
) -> None:
    """Write the report as one HTML file.

    Args:
        path: Of the file; it is written whole or not at all.
        evaluation: Models, fusions, and which of them are student and baseline.
        title: Heading of the page.
        examples: Clips to show, in this order.
        wheel: PNG that explains the colours of flow; shown when an example has flow.
        lineage: Facts for the foot of the page (data version, git commit, run …).
    """
    html = render(evaluation, title=title, examples=examples, wheel=wheel, lineage=lineage)
    with atomic_file(path) as partial:
        partial.write_text(html, encoding="utf-8")


def render(
    evaluation: Evaluation,
    *,
    title: str,
    examples: Sequence[Example] = (),
    wheel: bytes | None = None,
    lineage: Mapping[str, str] | None = None,
) -> str:
    """The page of :func:`write_report` as text."""
    here = Path(__file__).parent
    student = evaluation.scores_of(evaluation.student)
    return page_template(
        here / "page.html.j2",
        {
            "percent": _percent,
            "points": _points,
            "count": _count,
            "some": some_of,
            "area": _area,
            "sentence": _sentence,
        },
    ).render(
        policy=PAGE_POLICY,
        dark=plots.for_dark,
        style=(here / "style.css").read_text(encoding="utf-8"),
        title=title,
        evaluation=evaluation,
        classes=evaluation.models[0].scores.classes,
        split=evaluation.models[0].scores.split,
        by_folds=evaluation.models[0].scores.split == FOLDS,
        colours=_colours(evaluation),
        gain=_gain(evaluation.student, evaluation),
        model_rows=[_model_row(model, evaluation) for model in evaluation.models],
        fusion_rows=[_fusion_row(fused, evaluation) for fused in evaluation.fusions],
        trivial_rows=[_trivial_row(scores, evaluation) for scores in evaluation.trivial],
        trivial_finding=against_trivial(evaluation),
        is_beaten=is_beaten(evaluation),
        warnings=list(filter(None, (one_answer(model.scores) for model in evaluation.models))),
        top5=len(evaluation.classes) > _BEST_FEW,
        several=student.truth is not None,
        per_class=_per_class(student) if student.truth is not None else (),
        two=_two_classes(evaluation) if len(evaluation.classes) == 2 and student.truth is None else None,
        groups=len(set(evaluation.groups)) if groups_repeat(evaluation.groups or None) else 0,
        advice=[(m.name, said) for m in evaluation.models if (said := advice(m.curves, len(evaluation.classes)))],
        seen=_seen(evaluation),
        figures=_figures(evaluation),
        confused=_confused_pairs(student),
        examples=_grouped(examples, evaluation),
        wheel=wheel if any(example.flow for example in examples) else None,
        lineage=lineage or {},
    )


def _colours(evaluation: Evaluation) -> dict[str, str]:
    return plots.palette([model.name for model in evaluation.models], evaluation.student, evaluation.baseline)


def _with_colours_of_their_own(evaluation: Evaluation) -> list[Scores]:
    """Scores of student, baseline and the first other models: lines of one colour could not be told apart."""
    first = (evaluation.student, evaluation.baseline)
    others = [model.scores for model in evaluation.models if model.name not in first]
    return [model.scores for model in evaluation.models if model.name in first] + others[: len(plots.OTHERS)]


def _gain(name: str, evaluation: Evaluation) -> Gain | None:
    if evaluation.baseline is None or name == evaluation.baseline:
        return None
    return evaluation.gain(evaluation.scores_of(name), evaluation.scores_of(evaluation.baseline))


def _model_row(model: Evaluated, evaluation: Evaluation) -> dict[str, Any]:
    return {"model": model, "summary": evaluation.summary_of(model.scores), "gain": _gain(model.name, evaluation)}


def _fusion_row(fused: Fused, evaluation: Evaluation) -> dict[str, Any]:
    members = [evaluation.scores_of(name) for name in fused.members]
    best = max(members, key=lambda scores: evaluation.summary_of(scores).top1)
    return {
        "fused": fused,
        "summary": evaluation.summary_of(fused.scores),
        "parts": list(zip(fused.members, fused.weights, strict=True)),
        "best": best.model,
        "gain": evaluation.gain(fused.scores, best),
    }


def _trivial_row(scores: Scores, evaluation: Evaluation) -> dict[str, Any]:
    student = evaluation.scores_of(evaluation.student)
    return {"name": scores.model, "summary": evaluation.summary_of(scores), "gain": evaluation.gain(student, scores)}


def _two_classes(evaluation: Evaluation) -> dict[str, Any]:
    """What is shown of two classes alone: each model's threshold-free figures, and the student's threshold."""
    student = evaluation.scores_of(evaluation.student)
    threshold = threshold_of(student, evaluation.student_on_val)
    recalls = per_class_accuracy(confusion_of(student)).tolist()
    scored = [m.scores for m in evaluation.models] + [f.scores for f in evaluation.fusions] + [*evaluation.trivial]
    rows = [(scores.model, evaluation.summary_of(scores)) for scores in scored]
    return {"rows": rows, "threshold": threshold, "recalls": recalls, "top1": evaluation.summary_of(student).top1}


def _seen(evaluation: Evaluation) -> dict[str, Any]:
    """How large the pictures of examples are shown, px, and what the student sees of a frame, in words."""
    seen = next(model.preprocessing for model in evaluation.models if model.name == evaluation.student)
    if seen is None:
        return {"side": _MOST_SIDE_PX, "words": ""}
    what = "the whole frame squeezed to a square" if seen.fit == "squash" else "the square in the middle"
    side = min(max(seen.crop, _LEAST_SIDE_PX), _MOST_SIDE_PX)
    return {"side": side, "words": f"{what}, {seen.crop} × {seen.crop} px"}


def _figures(evaluation: Evaluation) -> dict[str, Any]:
    """The plots by name, each an SVG; absent ones are None."""
    colours = _colours(evaluation)
    student = evaluation.scores_of(evaluation.student)
    compared = None if evaluation.baseline is None else evaluation.scores_of(evaluation.baseline)
    bars = [_bar(model.scores, colours[model.name], evaluation) for model in evaluation.models]
    bars += [_bar(fused.scores, plots.FUSION, evaluation) for fused in evaluation.fusions]
    bars += [_bar(scores, plots.TRIVIAL, evaluation) for scores in evaluation.trivial]
    compared_scores = [student] if compared is None or compared.model == student.model else [student, compared]
    curves = {model.name: model.curves for model in evaluation.models if model.curves}
    classes, labels = student.classes, evaluation.label_efficiency
    return {
        "accuracy": plots.accuracy_bars(bars, chance=_chance(student)),
        "confusion": [(scores.model, plots.confusion(confusion_of(scores), classes)) for scores in compared_scores],
        "change": plots.class_change(per_class_change(student, compared_scores[1]), classes)
        if len(compared_scores) == 2
        else None,
        "curves": plots.curves(curves, colours) if curves else None,
        "roc": ranking_plots.roc_and_precision(_with_colours_of_their_own(evaluation), colours)
        if len(classes) == 2 and student.truth is None and 0 < student.labels.sum() < len(student)
        else None,
        "labels": label_plot.label_curve(labels, colours[student.model], chance=1 / len(classes)) if labels else None,
        "calibration": [
            (scores.model, ranking_plots.calibration(scores, colours[scores.model])) for scores in compared_scores
        ],
    }


def _chance(scores: Scores) -> float:
    """Top-1 of who guesses among all classes alike."""
    return 1 / len(scores.classes) if scores.truth is None else float(scores.truth.mean())


def _bar(scores: Scores, colour: str, evaluation: Evaluation) -> plots.Bar:
    summary = evaluation.summary_of(scores)
    return plots.Bar(scores.model, summary.top1, summary.top1_low, summary.top1_high, colour)


def _per_class(scores: Scores) -> list[tuple[str, int, float]]:
    """Each class with its clips and its average precision, the best first."""
    assert scores.truth is not None
    figures = per_class_figures(scores)
    rows = zip(scores.classes, scores.truth.sum(axis=0).tolist(), figures.tolist(), strict=True)
    return sorted(rows, key=lambda row: -np.nan_to_num(row[2], nan=-1.0))


def _confused_pairs(scores: Scores) -> list[dict[str, Any]]:
    """What the model mistakes for what, most frequent first."""
    counts = confusion_of(scores)
    clips = counts.sum(axis=1)
    wrong = counts - np.diag(counts.diagonal())
    pairs = sorted(np.argwhere(wrong).tolist(), key=lambda pair: -wrong[pair[0], pair[1]])[:_CONFUSED_PAIRS]
    names = scores.classes
    return [
        {"true": names[i], "predicted": names[j], "clips": int(wrong[i, j]), "share": wrong[i, j] / clips[i]}
        for i, j in pairs
    ]


def _grouped(examples: Sequence[Example], evaluation: Evaluation) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for example in examples:
        groups.setdefault(example.verdict, []).append(_described(example, evaluation))
    return groups


def _described(example: Example, evaluation: Evaluation) -> dict[str, Any]:
    first = evaluation.models[0].scores
    truth = [name for number, name in enumerate(first.classes) if first.is_of(number)[example.index]]
    predictions = []
    for model in evaluation.models:
        probabilities = model.scores.probabilities(slice(example.index, example.index + 1))[0]
        best = int(probabilities.argmax())
        predictions.append(
            {
                "model": model.name,
                "guess": first.classes[best],
                "score": probabilities[best],
                "right": first.classes[best] in truth,
            }
        )
    clip_id, true = first.clip_ids[example.index], ", ".join(truth)
    return {"clip_id": clip_id, "true": true, "predictions": predictions, "example": example}


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f}"


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _area(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _points(difference: float) -> str:
    rounded = round(100 * difference, 1)
    return f"{rounded:+.1f}".replace("-", "−") if rounded else "0.0"


def _count(number: int) -> str:
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def some_of(number: int, one: str, many: str | None = None) -> str:
    """A number and its noun, in the plural where it is not 1."""
    return f"{number} {one if number == 1 else many or one + 's'}"
