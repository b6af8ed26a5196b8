"""The page of a registered version: what it is for, what it has shown, what it came from, how to run it.

The facts of a model card (Mitchell et al., "Model Cards for Model Reporting", FAT* 2019, §4), from what the version's
evaluation and bundle say; words here, layout in ``model_page.html.j2``, looks those of the reports.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from kineflow.evaluation.kept_examples import read_examples
from kineflow.evaluation.report import ranking_plots
from kineflow.evaluation.report.plots import for_dark
from kineflow.evaluation.results import SCORES_FOLDER
from kineflow.evaluation.scores import Scores
from kineflow.models.card import ModelCard
from kineflow.models.transformers_config import config_of_text
from kineflow.models.transformers_names import ARCHITECTURE
from kineflow.registry.measured import PER_CLASS, Measured
from kineflow.registry.origins import Origins
from kineflow.spec.modality import reads_flow
from kineflow.spec.output_files import PER_CLASS_FILE
from kineflow.storage.files import inside
from kineflow.storage.page_policy import PAGE_POLICY, page_template
from kineflow.storage.spreadsheet import as_given

_COLOUR = "#2f6fde"
_NAMES = {
    "top1": "top-1", "top1_one_view": "top-1 with one view (clips = 1)",
    "top5": "top-5", "mean_class_accuracy": "mean class accuracy", "auc": "area under ROC",
    "average_precision": "average precision", "ece": "expected calibration error", "brier": "Brier score",
}  # fmt: skip
_EXAMPLES, _EXAMPLES_BYTES = 6, 10**6  # on the page
_LEAST_SIDE_PX, _MOST_SIDE_PX = 96, 146  # of a picture
_PERCENTS = ("top1", "top1_one_view", "top5", "mean_class_accuracy")


@dataclass(frozen=True)
class Figure:
    """A row of the results: name, value, and its 95 % interval where it has one, as text."""

    name: str
    value: str
    interval: str = ""


def render(
    origins: Origins, card: ModelCard, measured: Measured, evaluation: Path, *, intended_use: str, report: str
) -> str:
    """The page as HTML.

    Args:
        origins: Of the version.
        card: Of its bundle.
        measured: What it has shown.
        evaluation: Folder of its evaluation: scores, and clips of each class.
        intended_use: In the words of whoever registered it; empty: what the card says of itself.
        report: Where the whole report of the evaluation is; empty where nobody knows.
    """
    return page_template(Path(__file__).parent / "model_page.html.j2").render(
        name=f"{origins.name} version {origins.version}",
        model=f"models:/{origins.name}/{origins.version}",
        origins=origins,
        card=card,
        use=intended_use or _use_of(card),
        sees=_sees(card),
        figures=figures_of(measured),
        gains=measured.gains,
        classes=_classes(measured, evaluation / PER_CLASS_FILE, card.name),
        reliability=_reliability(evaluation, card.name),
        examples=read_examples(evaluation, card.name, count=_EXAMPLES, most_bytes=_EXAMPLES_BYTES),
        side=min(max(card.preprocessing.crop, _LEAST_SIDE_PX), _MOST_SIDE_PX),
        dark=for_dark,
        measured=measured,
        report=report,
        policy=PAGE_POLICY,
        style=(files("kineflow.evaluation.report") / "style.css").read_text(encoding="utf-8"),
    )


def describe(origins: Origins, card: ModelCard, measured: Measured, *, intended_use: str, page: str) -> str:
    """The version's description in the registry, as Markdown: the page in a few lines, and where it is.

    Args:
        origins, card, measured, intended_use: As for :func:`render`.
        page: Address of the page; empty where it is kept nowhere.
    """
    shown = "; ".join(
        f"{figure.name} {figure.value}{f' ({figure.interval})' if figure.interval else ''}"
        for figure in figures_of(measured)[:3]
    )
    lines = [
        intended_use or _use_of(card),
        f"Judged on {measured.clips} clips: {shown}.",
        f"`kineflow predict VIDEO --model models:/{origins.name}/{origins.version}`",
    ]
    return "\n\n".join([*lines, f"[Model page]({page})"] if page else lines)


def figures_of(measured: Measured) -> list[Figure]:
    """The headline figures, those that people ask for first in front."""
    shown = measured.headline
    names = [*(name for name in _NAMES if name in shown)]
    return [Figure(_NAMES[name], _value(name, shown[name]), _interval(name, shown)) for name in names]


def _value(name: str, value: float) -> str:
    return f"{100 * value:.1f} %" if name in _PERCENTS else f"{value:.3f}"


def _interval(name: str, shown: dict[str, float]) -> str:
    ends = [shown.get(f"{name}_{end}") for end in ("low", "high")]
    if None in ends:
        return ""
    return " to ".join(_value(name, end) for end in ends if end is not None)


def _use_of(card: ModelCard) -> str:
    return (
        f"Says which of {len(card.classes)} classes a short video shows: {_listed(card.classes)}. "
        "It knows no other, and answers with one of them to any video."
    )


def _sees(card: ModelCard) -> list[tuple[str, str]]:
    """How a video becomes its input, in words."""
    wanted = card.preprocessing
    rate = f"{wanted.fps:g} frames a second" if wanted.fps else "the video's own frame rate"
    whole = (
        "the whole frame, squeezed" if wanted.fit == "squash" else f"the middle of a short side of {wanted.short_side}"
    )
    if wanted.size:
        whole += f" of {wanted.size[0]} × {wanted.size[1]} px"
    step = "every frame" if wanted.stride_frames == 1 else f"one of {wanted.stride_frames} frames"
    lasts = f", {wanted.frames * wanted.stride_frames / wanted.fps:.2g} s" if wanted.fps else ""
    return [
        ("input", f"{wanted.modality}{', flow computed from the video' if reads_flow(wanted.modality) else ''}"),
        ("window", f"{wanted.frames} time steps, {step} at {rate}{lasts}"),
        ("picture", f"{wanted.crop} × {wanted.crop} px: {whole}"),
        ("network", _network(card)),
    ]


def _network(card: ModelCard) -> str:
    if card.architecture == ARCHITECTURE:
        config = config_of_text(str(card.hyperparameters.get("config", "")))
        return f"{config.family.title} ({config.num_hidden_layers} layers of {config.hidden_size} channels)"
    return f"{card.architecture} ({', '.join(f'{k} {v}' for k, v in card.hyperparameters.items())})"


def _classes(measured: Measured, path: Path, model: str) -> list[tuple[str, str, float]]:
    """Name, clips, and share of them that is right."""
    counts: dict[str, str] = {}
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.DictReader(stream) if as_given(row.get("model") or "") == model]
            counts = {as_given(row["class"]): row["clips"] for row in rows}
    shares = {
        name.removeprefix(PER_CLASS): value for name, value in measured.metrics.items() if name.startswith(PER_CLASS)
    }
    return [(name, counts.get(name, ""), share) for name, share in sorted(shares.items())]


def _reliability(evaluation: Path, model: str) -> str:
    """The diagram as SVG; empty where there are no scores."""
    path = inside(evaluation / SCORES_FOLDER, f"{model}.parquet")
    return ranking_plots.calibration(Scores.load(path), _COLOUR) if path.is_file() else ""


def _listed(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
