"""The report of motion probes: one page that stands alone, tells the truth, and lets no name escape."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from kineflow.evaluation.motion_probe import Mean, ProbeErrors
from kineflow.evaluation.probe_results import Probed, Probing
from kineflow.evaluation.report.probe_page import render, write_probe_report
from kineflow.evaluation.report.probe_plot import ErrorLine, errors_by_stage

STAGES, DECODERS = ("Conv2c", "Mixed3c", "Mixed4f"), ("simple", "pwc")
NASTY = "<script>alert(1)</script>\"'&$x_1$ {{7*7}}"
VOID = {"meta", "img", "source", "br", "link", "input", "hr"}


def probing(*, names: tuple[str, ...] = ("teacher", "plain", "student"), clips: int = 40, **changes: Any) -> Probing:
    rng = np.random.default_rng(0)
    still = {stage: rng.gamma(4.0, 0.7, clips) for stage in STAGES}

    def errors(share: float) -> dict[tuple[str, str], ProbeErrors]:
        return {
            (stage, decoder): ProbeErrors(still[stage] * share * (1 + 0.1 * deep) * rng.uniform(0.9, 1.0, clips),
                                          still[stage])
            for deep, stage in enumerate(STAGES) for decoder in DECODERS
        }  # fmt: skip

    networks = (
        Probed(names[0], "flow", errors(0.3), "untrained-flow"),
        Probed(names[1], "rgb", errors(0.75), "untrained-rgb"),
        Probed(names[2], "rgb", errors(0.55), "untrained-rgb"),
        Probed("untrained-flow", "flow", errors(0.5)),
        Probed("untrained-rgb", "rgb", errors(0.8)),
    )
    ids = tuple(f"clip/{place:04d}" for place in range(clips))
    return Probing(**{"networks": networks, "clip_ids": ids, "split": "test", "student": names[2],
                      "baseline": names[1], **changes})  # fmt: skip


def words(html: str) -> str:
    class Words(HTMLParser):
        found = ""

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            self.found += " " if tag in ("td", "th", "dt", "dd") else ""

        def handle_data(self, data: str) -> None:
            self.found += data

    parser = Words()
    parser.feed(html)
    return " ".join(parser.found.split())


def plots(html: str) -> list[str]:
    found = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", html)
    return [base64.b64decode(text).decode() for text in found]


@pytest.fixture(scope="module")
def page() -> str:
    return render(probing(), title="Motion probes", lineage={"git commit": "3f2c9aa"})


def test_the_page_is_whole_and_needs_nothing_else(page: str) -> None:
    opened: list[str] = []
    tags: set[str] = set()

    class Balance(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            tags.add(tag)
            if tag not in VOID:
                opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Balance().feed(page)
    assert not opened
    assert not {"script", "link", "iframe", "object"} & tags
    assert not re.search(r"https?:|@import|url\(|src=\"(?!data:)|srcset=\"(?!data:)", page)


def test_figures_are_those_of_the_errors(page: str) -> None:
    text, found = words(page), probing()
    assert "from the features of 3 networks: 40 clips of the split “test”" in text
    gain = found.overall_gain("student")
    assert gain is not None
    assert f"flow decoded from student errs by {gain.value:.3f} px less than that decoded from plain" in text
    for stage in STAGES:
        for decoder in DECODERS:
            summary = found.summary("student", (stage, decoder))
            gains = (summary.gain_over_still, summary.gain_over_untrained, summary.gain_over_baseline)
            shown = " ".join(f"{gain.value:+.3f} ± {gain.high - gain.value:.3f}" for gain in gains if gain)
            error = f"{summary.error.value:.3f} ± {summary.error.high - summary.error.value:.3f}"
            assert f"{stage} student rgb {error} {shown}" in text
    assert "git commit 3f2c9aa" in text


def test_one_plot_for_light_and_one_for_dark_pages_with_every_network(page: str) -> None:
    dark, light = plots(page)
    assert dark != light
    for svg in (dark, light):
        ElementTree.fromstring(svg)
        for name in ("no motion", "teacher", "plain", "student", "untrained-rgb", "untrained-flow", *STAGES, *DECODERS):
            assert name in svg


def test_without_a_baseline_nothing_is_compared() -> None:
    text = words(render(probing(baseline=None), title="Motion probes"))
    assert "errs by" not in text
    assert "over plain" not in text


def test_a_difference_that_may_be_chance_says_so() -> None:
    same = probing(student="plain", baseline="student")
    noisy = [
        Probed(network.name, network.modality, {
            site: ProbeErrors(errors.still * np.random.default_rng(len(site[0])).uniform(0.5, 1.0, 40), errors.still)
            for site, errors in network.errors.items()
        }, network.untrained)
        for network in same.networks
    ]  # fmt: skip
    text = words(render(probing(networks=tuple(noisy)), title="Motion probes"))
    assert "The interval contains 0" in text


def test_names_are_words_and_nothing_more() -> None:
    html = render(probing(names=("teacher", "plain", NASTY)), title=NASTY)
    assert "<script>" not in html
    assert NASTY in words(html)
    for svg in plots(html):
        ElementTree.fromstring(svg)


def test_a_single_clip_has_no_interval(tmp_path: Path) -> None:
    write_probe_report(tmp_path / "report.html", probing(clips=1), title="Motion probes")
    assert " ± – " in words((tmp_path / "report.html").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("decoders", [("simple",), ("simple", "spatial", "pwc"), tuple("abcdefg")])
def test_a_panel_for_each_decoder(decoders: tuple[str, ...]) -> None:
    line = ErrorLine("student", [Mean(1.0, 0.9, 1.1)] * 3, "#2f6fde")
    svg = errors_by_stage(STAGES, {name: [line] for name in decoders}, dict.fromkeys(decoders, [2.0] * 3))
    ElementTree.fromstring(svg)
    assert all(f">{decoder}<" in svg for decoder in decoders)
