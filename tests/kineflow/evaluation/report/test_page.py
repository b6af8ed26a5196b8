"""The report: one page that stands alone, tells the truth, and lets no name escape."""

import base64
import html
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from kineflow.evaluation.fusion import fuse
from kineflow.evaluation.label_efficiency import LabelledShare, label_efficiency
from kineflow.evaluation.report.page import Example, render, write_report
from kineflow.evaluation.results import Evaluated, Evaluation, Fused
from kineflow.evaluation.scores import Scores
from kineflow.storage.page_policy import PAGE_POLICY

NASTY = "<script>alert(1)</script>\"'&$x_1$ {{7*7}}"
VOID = {"meta", "img", "source", "br", "link", "input", "hr"}


def scores(model, *, classes, right, clips=40, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(clips) % len(classes)
    logits = rng.normal(size=(clips, len(classes)))
    sure = np.arange(int(right * clips))
    logits[sure, labels[sure]] += 9
    ids = tuple(f"clip/{index:04d}" for index in range(clips))
    return Scores(model, ids, labels, tuple(classes), logits.astype(np.float32), "test")


def evaluation(*, classes=("jump", "run", "sit"), names=("teacher", "plain", "student"), clips=40, **changes):
    shares = zip(names, (0.9, 0.3, 0.6), strict=True)
    found = [scores(name, classes=classes, right=right, clips=clips, seed=s) for s, (name, right) in enumerate(shares)]
    curve = {"train/loss": [(float(step), 1 / (step + 1)) for step in range(2000)]}
    models = tuple(
        Evaluated(entry, "flow" if place == 0 else "rgb", 12_345_678, curve, {"commit": f"c{place}"})
        for place, entry in enumerate(found)
    )
    fused = Fused(fuse([found[2], found[1]]), (names[2], names[1]), (0.5, 0.5), tuned=True)
    return Evaluation(**{"models": models, "fusions": (fused,), "student": names[2], "baseline": names[1]} | changes)


def decoded(html, kind):
    return [base64.b64decode(found) for found in re.findall(rf"data:{re.escape(kind)};base64,([A-Za-z0-9+/=]+)", html)]


def words(html):
    class Words(HTMLParser):
        found = ""

        def handle_starttag(self, tag, attrs):
            self.found += " " if tag in ("td", "th", "dt", "dd") else ""

        def handle_data(self, data):
            self.found += data

    parser = Words()
    parser.feed(html)
    return " ".join(parser.found.split())


class Balance(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page():
    examples = [Example(0, "both right", (b"jpeg-a",), (b"jpeg-b",)), Example(30, "both wrong", (b"jpeg-c", b"jpeg-d"))]
    return render(evaluation(), title="A title", examples=examples, wheel=b"png", lineage={"git commit": "3f2c9aa"})


@pytest.mark.slow
def test_the_page_is_whole_and_needs_nothing_else(page):
    parser = Balance()
    parser.feed(page)
    assert not parser.open
    assert not {"script", "link", "iframe", "object"} & set(parser.tags)
    assert not re.search(r"https?:|@import|url\(|src=\"(?!data:)|srcset=\"(?!data:)", page)
    assert "prefers-color-scheme: dark" in page
    assert PAGE_POLICY in html.unescape(page)


def test_the_headline_figures_are_those_of_the_scores(page):
    text = words(page)
    assert "3 models and 1 fusion, 40 clips of the split “test”, 3 classes" in text
    top1 = [100 * float((m.scores.predictions() == m.scores.labels).mean()) for m in evaluation().models]
    for name, modality, value in zip(("teacher", "plain", "student"), ("flow", "rgb", "rgb"), top1, strict=True):
        assert f"{name} {modality} 12.3 M 40 {value:.1f}" in text
    assert f"student against plain: {top1[2] - top1[1]:+.1f} points" in text
    assert "0.5 : 0.5 (chosen on val)" in text
    assert "git commit 3f2c9aa" in text
    assert "commit c0" in text


def test_examples_show_truth_and_every_answer(page):
    assert decoded(page, "image/jpeg") == [b"jpeg-a", b"jpeg-b", b"jpeg-c", b"jpeg-d"]
    assert decoded(page, "image/png") == [b"png"]
    text = words(page)
    guess = evaluation().models[1].scores
    best = int(guess.predictions()[30])
    score = 100 * guess.probabilities()[30, best]
    assert "jump clip/0030" in text
    mark = "✓" if best == 0 else "✗"
    assert f"plain {mark} {guess.classes[best]} {score:.1f} %" in text.split("clip/0030")[1]


def test_plots_are_drawn_for_light_and_dark_pages(page):
    plots = decoded(page, "image/svg+xml")
    assert len(plots) == 2 * (1 + 2 + 2 + 1 + 1)  # accuracy, two calibrations, two confusions, change, curves
    for plot in plots:
        ElementTree.fromstring(plot)
    dark, light = plots[0].decode(), plots[1].decode()
    assert dark != light
    assert "#1f2430" in light
    assert "#1f2430" not in dark


@pytest.mark.slow
def test_no_name_escapes():
    names = (f"teacher {NASTY}", f"plain {NASTY}", f"student {NASTY}")
    compared = evaluation(classes=(NASTY, "b" + NASTY, "\x00\x1b\n"), names=names)
    html = render(compared, title=NASTY, examples=[Example(0, NASTY, (b"x",))], lineage={NASTY: NASTY})
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "{{7*7}}" in html
    Balance().feed(html)
    for plot in decoded(html, "image/svg+xml"):
        assert not [part for part in ElementTree.fromstring(plot).iter() if part.tag.endswith("script")]


@pytest.mark.slow
def test_a_hundred_classes_stay_readable_and_small():
    classes = [f"class {place} with quite a long name" for place in range(101)]
    html = render(evaluation(classes=classes, clips=1010), title="t")
    accuracy, *_, change, _ = (plot.decode() for plot in decoded(html, "image/svg+xml")[1::2])
    assert "student" in accuracy
    assert len(re.findall(r">class \d+ with", change)) == 30
    assert "71 classes between these are not shown" in change
    assert len(html) < 3_000_000


def test_parts_without_content_are_left_out():
    models = tuple(Evaluated(model.scores, "rgb", 1) for model in evaluation().models)
    text = words(render(evaluation(models=models, fusions=(), baseline=None), title="t"))
    for heading in ("Late fusion", "Which classes changed", "Example clips", "Training", "against"):
        assert heading not in text
    assert "Confusion" in text


@pytest.mark.slow
def test_folds_are_called_so_and_fewer_labels_are_plotted():
    found = evaluation(fusions=())
    folds = [replace(model, scores=replace(model.scores, split="folds")) for model in found.models]
    curve = label_efficiency([LabelledShare(share, 9, np.full(40, share)) for share in (0.5, 1.0)])
    html = render(replace(found, models=tuple(folds), label_efficiency=curve), title="t")
    text = words(html)
    assert "3 models, 40 clips, each judged by a fold that held it out, 3 classes." in text
    assert "Half of the labels gave 50.0%, all of them 100.0%: more labels are likely to help." in text
    assert any(b"labelled clips learnt from" in svg for svg in decoded(html, "image/svg+xml"))
    assert "More labels" not in words(render(found, title="t"))


def test_top_5_is_for_many_classes_and_curves_of_thresholds_for_two():
    few, many = words(render(evaluation(), title="t")), words(render(evaluation(classes="abcdefgh"), title="t"))
    assert "top-5" not in few
    assert "top-5" in many
    assert "AUC" not in few + many
    two = words(render(evaluation(classes="ab"), title="t"))
    assert "AUC" in two
    assert "One half: no val clips" in two


def test_groups_of_clips_are_what_intervals_go_by():
    grouped = evaluation(groups=tuple(str(place // 4) for place in range(40)))
    assert "the 40 clips are of 10 groups" in words(render(grouped, title="t"))
    student = grouped.scores_of("student")
    apart = evaluation().summary_of(student)
    assert (
        grouped.summary_of(student).top1_high - grouped.summary_of(student).top1_low > apart.top1_high - apart.top1_low
    )


def test_a_difference_that_may_be_chance_is_called_so():
    plain = scores("plain", classes="ab", right=0.5)
    student = scores("student", classes="ab", right=0.55)
    compared = Evaluation((Evaluated(plain, "rgb", 1), Evaluated(student, "rgb", 1)), (), "student", "plain")
    assert "this difference may be chance" in words(render(compared, title="t"))


def test_a_student_that_is_its_own_baseline_is_not_compared():
    text = words(render(evaluation(baseline="student"), title="t"))
    assert "Which classes changed" not in text


@pytest.mark.slow
def test_the_same_evaluation_gives_the_same_bytes(tmp_path):
    for name in ("one.html", "two.html"):
        write_report(tmp_path / name, evaluation(), title="t")
    one, two = ((tmp_path / name).read_bytes() for name in ("one.html", "two.html"))
    assert one == two
