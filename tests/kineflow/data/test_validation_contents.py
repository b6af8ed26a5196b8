"""What is found in the frames of a clip set, from its rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from kineflow.data.validation import content_findings as findings
from kineflow.data.validation.accepted import Accepted, read_accepted, write_accepted
from kineflow.data.validation.drift import QUANTITIES, by_group, shifts


def clips(*rows, **defaults):
    """Clips a, b, … each with what is given of it."""
    fields = {
        "label": "jump", "split": "train", "fps": 25.0, "width": 64, "height": 48, "frames": 50, "video_sha256": "",
        "brightness": 90.0, "motion": 100.0, "sharpness": 0.5, "change": 30.0,
    } | defaults  # fmt: skip
    named = [
        {"clip_id": name, "source": f"{name}.mp4", "group": name, "sha256": name, "copy_of": number} | fields | row
        for number, (name, row) in enumerate(zip("abcdefghijklmnopqrstuvwxyz", rows, strict=False))
    ]
    columns = {key: [row[key] for row in named] for key in named[0]}
    return pd.DataFrame({key: pd.Series(values, dtype=object) for key, values in columns.items()})


@pytest.mark.parametrize(
    ("rows", "observed"),
    [
        ([{}, {"split": "test", "copy_of": 0}], "a.mp4 in train = b.mp4 in test"),
        ([{"split": "val"}, {"split": "test", "copy_of": 0}], "a.mp4 in val = b.mp4 in test"),
        (
            [{"split": "unlabelled", "label": None}, {"split": "test", "copy_of": 0}, {"split": "test"}],
            "a.mp4 in unlabelled = b.mp4 in test",
        ),
        ([{"split": "unlabelled", "label": None}, {"copy_of": 0}], ""),  # teaches no test
        ([{}, {"split": "test", "copy_of": 0, "sha256": "a"}], ""),  # the same bytes are told already
        ([{"video_sha256": "v"}, {"split": "test", "copy_of": 0, "video_sha256": "v"}], ""),
    ],
)
def test_copies_across_splits_are_a_fault_where_a_figure_is_made_of_them(rows, observed):
    assert findings.copies_in_several_splits(clips(*rows)).observed == observed


def test_copies_under_two_labels_and_harmless_ones_are_told_apart():
    frame = clips(
        {}, {"copy_of": 0, "label": "run"},  # of two labels
        {}, {"copy_of": 2},  # of one
        {}, {"copy_of": 4, "split": "test"},  # of two splits
        {"split": "unlabelled", "label": None}, {"copy_of": 6},
    )  # fmt: skip
    assert findings.copies_under_several_labels(frame).clip_ids == ("a", "b")
    assert findings.copies_under_several_labels(frame).observed == "a.mp4 in jump = b.mp4 in run"
    assert findings.copies_in_several_splits(frame).clip_ids == ("e", "f")
    assert findings.copies_twice(frame).clip_ids == ("c", "d", "g", "h")
    assert findings.copies_twice(frame).observed == "2 of 4 that are alike"
    assert findings.copies_twice(clips({}, {})).observed == ""


def test_a_class_that_stands_still_is_told_from_single_clips():
    frame = clips({"change": 0.1}, {}, {"change": 0.2, "label": "run"}, {"change": 0.0, "label": "run"},
                  {"change": None, "label": "lost"}, {"change": 0.0, "label": None})  # fmt: skip
    classes = findings.classes_without_motion(frame, classes=["jump", "run", "lost"], least=0.5)
    assert (classes.observed, classes.clip_ids) == ("run (2 clips)", ("c", "d"))
    assert findings.clips_without_motion(frame, least=0.5).clip_ids == ("a", "c", "d", "f")
    assert findings.clips_without_motion(frame, least=0).observed == ""
    assert findings.unread(frame.assign(brightness=[None, *frame["brightness"][1:]])).clip_ids == ("a",)


def test_odd_rates_sizes_and_durations_are_named_and_a_wide_spread_is_none():
    odd = clips(*[{}] * 8, {"fps": 1.0}, {"fps": 240.0}, {"width": 4, "height": 4}, {"frames": 1000}, {"fps": None})
    found = findings.outliers(odd, factor=4)
    assert found.clip_ids == ("i", "j", "k", "l")
    assert "i 1 frames/s (median 25 frames/s)" in found.observed
    assert "k 4 px (median 48 px)" in findings.outliers(odd.iloc[[0, 1, 2, 10]], factor=4).observed
    wide = clips(*({"frames": int(25 * 2**power)} for power in range(8)))
    assert findings.outliers(wide, factor=4).observed == ""


def splits_of(change, *, groups=12, each=1):
    """Clips of train and test, of many groups; ``change`` of what test clips have."""
    rows = []
    for split in ("train", "test"):
        rng = np.random.default_rng(0)
        for group in range(groups):
            light, speed, detail = rng.normal(90, 10), rng.normal(100, 10), rng.normal(0.5, 0.05)
            row = {"brightness": light, "motion": speed, "sharpness": detail, "split": split, "fps": 25.0}
            if split == "test":
                row |= {key: row[key] * factor for key, factor in change.items()}
            rows += [row | {"group": f"{split}{group}"}] * each
    return pd.DataFrame(rows)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_a_test_that_differs_from_training_is_told_by_its_quantity(quantity):
    found = findings.drift_of_test(splits_of({quantity: 0.6}), most=0.5)
    assert found.observed.startswith(f"{quantity} ")
    assert ";" not in found.observed
    assert findings.drift_of_test(splits_of({}), most=0.5).observed == ""


def test_many_clips_of_few_groups_are_no_evidence():
    assert findings.drift_of_test(splits_of({"motion": 0.6}, groups=2, each=50), most=0.5).observed == ""


def test_the_effect_is_how_much_more_often_one_is_above():
    first, second = {"motion": [1.0, 2, 3, 4] * 5}, {"motion": [3.0, 5, 5, 5] * 5}
    (shift,) = shifts(first, second, most=0.5)
    assert shift.effect == pytest.approx(sum(np.sign(b - a) for a in (1, 2, 3, 4) for b in (3, 5, 5, 5)) / 16)
    assert shift.medians == (2.5, 5)
    assert shifts(first, second, most=0.9) == []


def test_the_last_set_is_kept_in_brief_and_a_damaged_file_is_none(tmp_path):
    path = tmp_path / "report.accepted.json"
    assert read_accepted(path) == []
    values = by_group(splits_of({}, groups=400))
    kept = Accepted.of("abc", values)
    assert {len(each) for each in kept.quantities.values()} == {200}
    assert np.median(kept.quantities["motion"]) == pytest.approx(np.median(values["motion"]), rel=0.01)
    write_accepted(path, [kept, Accepted.of("before", values)])
    assert [each.clips for each in read_accepted(path)] == ["abc", "before"]
    assert findings.drift_since(splits_of({}), before=kept.quantities, most=0.5).observed == ""
    darker = splits_of({}).assign(brightness=30.0)
    assert (
        "brightness 88.5 in the last set, 30 in this"
        in findings.drift_since(darker, before=kept.quantities, most=0.5).observed
    )
    for broken in ("{", "[]", '{"sets": [{"clips": "x", "quantities": {}}]}', '{"sets": 3}'):
        path.write_text(broken)
        assert read_accepted(path) == []
