"""The report of where models look: words and numbers here, layout in ``page.html.j2``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kineflow.evaluation.attention.figures import Estimate
from kineflow.evaluation.attention.settings import LocaliseSettings
from kineflow.evaluation.attention.strips import TRUE, TUBE
from kineflow.evaluation.report import plots
from kineflow.storage.files import atomic_file
from kineflow.storage.page_policy import PAGE_POLICY, page_template


@dataclass(frozen=True)
class Looked:
    """One model at one example: its strip, and its answer."""

    model: str
    strip: bytes
    guess: str
    score: float
    right: bool
    overlap: float | None
    inside: float | None


@dataclass(frozen=True)
class ShownClip:
    """One example clip.

    Attributes:
        clip_id, label: Of the clip.
        frames: JPEG strip of its frames, with the true boxes where there are any.
        area: Share of the frame that the actor covers.
        flow: JPEG strip of its flow, or None.
        looks: One for each model.
    """

    clip_id: str
    label: str
    frames: bytes
    area: float | None
    flow: bytes | None
    looks: tuple[Looked, ...]


@dataclass(frozen=True)
class Report:
    """All that the page shows.

    Attributes:
        settings: How tubes were made.
        clips: How many clips were looked at.
        figures: By model and name, see :func:`kineflow.evaluation.attention.figures.figures_of`.
        whole_frame: The figures of a tube that is always the whole frame.
        most_entropy: Of even attention, nats, by model.
        examples: Clips to show.
        wheel: PNG that explains the colours of flow.
        lineage: Facts for the foot of the page.
    """

    settings: LocaliseSettings
    clips: int
    figures: Mapping[str, Mapping[str, Estimate]]
    whole_frame: Mapping[str, Estimate]
    most_entropy: Mapping[str, float]
    examples: Sequence[ShownClip]
    wheel: bytes | None
    lineage: Mapping[str, str]


def write_localisation_page(path: Path, report: Report) -> None:
    """Write the page as one HTML file, whole or not at all."""
    html = render(report)
    with atomic_file(path) as partial:
        partial.write_text(html, encoding="utf-8")


def render(report: Report) -> str:
    """The page of :func:`write_localisation_page` as text."""
    here = Path(__file__).parent
    names = list(report.figures)
    return page_template(here / "page.html.j2", {"percent": _percent}).render(
        policy=PAGE_POLICY,
        style=(here.parent / "report" / "style.css").read_text(encoding="utf-8"),
        report=report,
        settings=report.settings,
        judged=bool(report.whole_frame),
        wheel=report.wheel if any(example.flow for example in report.examples) else None,
        colours=plots.palette(names, names[0], None),
        true_colour=_css(TRUE),
        tube_colour=_css(TUBE),
    )


def _css(colour: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
