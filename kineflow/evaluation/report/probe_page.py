"""From motion probes to the page: words and numbers here, layout in ``probe_page.html.j2``, looks in ``style.css``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kineflow.evaluation.motion_probe import Mean
from kineflow.evaluation.probe_results import Probed, Probing
from kineflow.evaluation.report import plots
from kineflow.evaluation.report.page import some_of
from kineflow.evaluation.report.probe_plot import ErrorLine, errors_by_stage
from kineflow.storage.files import atomic_file
from kineflow.storage.page_policy import PAGE_POLICY, page_template


def write_probe_report(path: Path, probing: Probing, *, title: str, lineage: Mapping[str, str] | None = None) -> None:
    """Write the report as one HTML file.

    Args:
        path: Of the file; it is written whole or not at all.
        probing: What was found.
        title: Heading of the page.
        lineage: Facts for the foot of the page (data version, git commit, run …).
    """
    html = render(probing, title=title, lineage=lineage)
    with atomic_file(path) as partial:
        partial.write_text(html, encoding="utf-8")


def render(probing: Probing, *, title: str, lineage: Mapping[str, str] | None = None) -> str:
    """The page of :func:`write_probe_report` as text."""
    here = Path(__file__).parent
    colours = _colours(probing)
    decoders = list(dict.fromkeys(decoder for _, decoder in probing.sites))
    return page_template(here / "probe_page.html.j2", {"px": _px, "interval": _interval, "some": some_of}).render(
        policy=PAGE_POLICY,
        dark=plots.for_dark,
        style=(here / "style.css").read_text(encoding="utf-8"),
        title=title,
        probing=probing,
        colours=colours,
        gain=probing.overall_gain(probing.student),
        decoders={decoder: _rows(probing, decoder) for decoder in decoders},
        figure=_figure(probing, decoders, colours),
        lineage=lineage or {},
    )


def _colours(probing: Probing) -> dict[str, str | None]:
    trained = plots.palette([network.name for network in probing.trained], probing.student, probing.baseline)
    return {network.name: trained.get(network.name) for network in probing.networks}


def _stages(probing: Probing) -> list[str]:
    return list(dict.fromkeys(stage for stage, _ in probing.sites))


def _figure(probing: Probing, decoders: list[str], colours: Mapping[str, str | None]) -> str:
    stages = _stages(probing)

    def line(network: Probed, decoder: str) -> ErrorLine:
        errors = [probing.summary(network.name, (stage, decoder)).error for stage in stages]
        return ErrorLine(network.name, errors, colours[network.name])

    by_decoder = {decoder: [line(network, decoder) for network in probing.networks] for decoder in decoders}
    first = probing.networks[0].name
    still = {
        decoder: [probing.summary(first, (stage, decoder)).still.value for stage in stages] for decoder in decoders
    }
    return errors_by_stage(stages, by_decoder, still)


def _rows(probing: Probing, decoder: str) -> list[dict[str, Any]]:
    return [
        {"stage": stage, "network": network, "summary": probing.summary(network.name, (stage, decoder))}
        for stage in _stages(probing)
        for network in probing.networks
    ]


def _px(value: float) -> str:
    return f"{value:.3f}".replace("-", "−") if math.isfinite(value) else "–"


def _interval(mean: Mean | None, signed: bool = False) -> str:
    """A mean and half its interval; nothing where there is none."""
    if mean is None:
        return ""
    value = _signed(mean.value) if signed else _px(mean.value)
    return f"{value} ± {_px(mean.high - mean.value)}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−") if round(value, 3) else "0.000"
