"""Plots say what they are given, and keep names apart from markup and formulas."""

from xml.etree import ElementTree

import numpy as np

from kineflow.evaluation.report import plots


def texts(svg):
    return [text.text for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_bars_are_labelled_with_name_and_value():
    labels = texts(plots.accuracy_bars([plots.Bar("a <b> $c$", 0.5, 0.4, 0.6, "#2f6fde")], chance=0.125))
    assert "a <b> $c$" in labels
    assert "50.0" in labels


def test_confusion_shows_counts_and_names_of_few_classes():
    labels = texts(plots.confusion(np.array([[7, 0], [2, 5]]), ["up", "down"]))
    assert [labels.count(word) for word in ("7", "2", "5", "0", "up", "down")] == [1, 1, 1, 0, 2, 2]


def test_confusion_of_many_classes_is_a_picture_alone():
    many = plots.MANY_CLASSES + 1
    assert texts(plots.confusion(np.eye(many, dtype=np.int64), [f"c{i}" for i in range(many)])) == ["predicted", "true"]


def test_changes_are_sorted_and_classes_without_clips_left_out():
    labels = texts(plots.class_change(np.array([-0.25, np.nan, 0.5]), ["worse", "absent", "better"]))
    assert "absent" not in labels
    assert labels.index("better") < labels.index("worse")
    assert {"+50.0", "-25.0"} <= set(labels)


def test_only_the_ends_of_many_classes_are_named():
    change = np.linspace(1, -1, 101)
    labels = texts(plots.class_change(change, [f"c{i}" for i in range(101)]))
    named = {text for text in labels if text.startswith("c") and text[1:].isdigit()}
    assert named == {f"c{i}" for i in (*range(15), *range(86, 101))}


def test_curves_have_a_panel_for_each_figure_and_a_line_for_each_model():
    series = {"plain": {"loss": [(0, 1), (1, 0.5)]}, "student": {"loss": [(0, 1)], "val/top1": [(1, 0.5)]}}
    labels = texts(plots.curves(series, {"plain": "#111111", "student": "#222222"}))
    assert [labels.count(word) for word in ("loss", "val/top1", "plain", "student")] == [1, 1, 1, 1]


def test_long_curves_are_thinned_without_moving_them():
    points = [(float(step), 2.0 * step) for step in range(100_000)]
    thin = plots._thinned(points)
    assert len(thin) <= 300
    assert np.allclose([y for _, y in thin], [2 * x for x, _ in thin])


def test_long_names_are_cut_and_control_characters_shown():
    assert plots.short_name("x" * 60) == "x" * 33 + "…"
    assert plots.short_name("a\nb\x00") == "a�b�"


def test_every_model_has_its_own_colour_and_roles_keep_theirs():
    names = ["t", "plain", "s2", *(f"s{number}" for number in range(3, 8))]  # as many as are evaluated together
    colours = plots.palette(names, "s2", "plain")
    assert (colours["s2"], colours["plain"]) == (plots.STUDENT, plots.BASELINE)
    assert len(set(colours.values())) == len(set(plots.palette(names, "s2", None).values())) == len(names)
