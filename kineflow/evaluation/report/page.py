"""From an evaluation to the page: words and numbers here, layout in ``page.html.j2``, looks in ``style.css``."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kineflow.evaluation.metrics import Gain, confusion_of, paired_gain, per_class_change, summarise
from kineflow.evaluation.report import plots
from kineflow.evaluation.results import Evaluated, Evaluation, Fused
from kineflow.evaluation.scores import Scores
from kineflow.storage.files import atomic_file
from kineflow.storage.page_policy import PAGE_POLICY

_CONFUSED_PAIRS = 8


@dataclass(frozen=True)
class Example:
    """A clip to show.

    Attributes:
        index: Its place among the scores.
        verdict: What happened to it; examples of one verdict are shown together.
        frames: JPEG film strip.
        flow: JPEG film strip of its flow, or None.
    """

    index: int
    verdict: str
    frames: bytes
    flow: bytes | None = None


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
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(here), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": _percent, "points": _points, "count": _count, "some": some_of, "uri": data_uri}
    return environment.get_template("page.html.j2").render(
        policy=PAGE_POLICY,
        dark=plots.for_dark,
        style=(here / "style.css").read_text(encoding="utf-8"),
        title=title,
        evaluation=evaluation,
        classes=evaluation.models[0].scores.classes,
        split=evaluation.models[0].scores.split,
        colours=_colours(evaluation),
        gain=_gain(evaluation.student, evaluation),
        model_rows=[_model_row(model, evaluation) for model in evaluation.models],
        fusion_rows=[_fusion_row(fused, evaluation) for fused in evaluation.fusions],
        figures=_figures(evaluation),
        confused=_confused_pairs(evaluation.scores_of(evaluation.student)),
        examples=_grouped(examples, evaluation),
        wheel=wheel if any(example.flow for example in examples) else None,
        lineage=lineage or {},
    )


def _colours(evaluation: Evaluation) -> dict[str, str]:
    return plots.palette([model.name for model in evaluation.models], evaluation.student, evaluation.baseline)


def _gain(name: str, evaluation: Evaluation) -> Gain | None:
    if evaluation.baseline is None or name == evaluation.baseline:
        return None
    return paired_gain(evaluation.scores_of(name), evaluation.scores_of(evaluation.baseline))


def _model_row(model: Evaluated, evaluation: Evaluation) -> dict[str, Any]:
    return {"model": model, "summary": summarise(model.scores), "gain": _gain(model.name, evaluation)}


def _fusion_row(fused: Fused, evaluation: Evaluation) -> dict[str, Any]:
    members = [evaluation.scores_of(name) for name in fused.members]
    best = max(members, key=lambda scores: summarise(scores).top1)
    return {
        "fused": fused,
        "summary": summarise(fused.scores),
        "parts": list(zip(fused.members, fused.weights, strict=True)),
        "best": best.model,
        "gain": paired_gain(fused.scores, best),
    }


def _figures(evaluation: Evaluation) -> dict[str, Any]:
    """The plots by name, each an SVG; absent ones are None."""
    colours = _colours(evaluation)
    student = evaluation.scores_of(evaluation.student)
    compared = None if evaluation.baseline is None else evaluation.scores_of(evaluation.baseline)
    bars = [_bar(model.scores, colours[model.name]) for model in evaluation.models]
    bars += [_bar(fused.scores, plots.FUSION) for fused in evaluation.fusions]
    compared_scores = [student] if compared is None or compared.model == student.model else [student, compared]
    curves = {model.name: model.curves for model in evaluation.models if model.curves}
    classes = student.classes
    return {
        "accuracy": plots.accuracy_bars(bars, chance=1 / len(classes)),
        "confusion": [(scores.model, plots.confusion(confusion_of(scores), classes)) for scores in compared_scores],
        "change": plots.class_change(per_class_change(student, compared_scores[1]), classes)
        if len(compared_scores) == 2
        else None,
        "curves": plots.curves(curves, colours) if curves else None,
    }


def _bar(scores: Scores, colour: str) -> plots.Bar:
    summary = summarise(scores)
    return plots.Bar(scores.model, summary.top1, summary.top1_low, summary.top1_high, colour)


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
    truth = int(first.labels[example.index])
    predictions = []
    for model in evaluation.models:
        probabilities = model.scores.probabilities(slice(example.index, example.index + 1))[0]
        best = int(probabilities.argmax())
        predictions.append(
            {"model": model.name, "guess": first.classes[best], "score": probabilities[best], "right": best == truth}
        )
    clip_id, true = first.clip_ids[example.index], first.classes[truth]
    return {"clip_id": clip_id, "true": true, "predictions": predictions, "example": example}


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f}"


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


def data_uri(data: str | bytes, kind: str) -> str:
    """Content as an address, so that a page is one file; ``kind`` is its media type."""
    raw = data.encode() if isinstance(data, str) else data
    return f"data:{kind};base64,{base64.b64encode(raw).decode()}"
