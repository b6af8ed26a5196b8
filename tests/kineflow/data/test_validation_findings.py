import pandas as pd

from kineflow.data.validation import findings
from kineflow.data.validation.findings import Finding


def manifest(*rows):
    columns = ["clip_id", "split", "label", "group", "sha256", "status"]
    return pd.DataFrame([dict(zip(columns, row, strict=True)) for row in rows], columns=columns, dtype=object)


CLIPS = manifest(
    ("a", "train", "jump", "g1", "h1", "ok"),
    ("b", "train", "jump", "g1", "h2", "ok"),
    ("c", "train", "run", "g2", "h3", "ok"),
    ("d", "val", "run", "g3", "h4", "ok"),
    ("e", "unlabelled", None, "g4", "h5", "ok"),
)


def altered(**changes):
    clips = CLIPS.copy()
    for column, values in changes.items():
        clips[column] = pd.Series(values, dtype=object)
    return clips


def test_nothing_is_found_in_a_good_manifest_or_an_empty_one():
    for clips in (CLIPS, manifest()):
        assert findings.groups_in_several_splits(clips) == Finding()
        assert findings.contents_in_several_splits(clips) == Finding()
        assert findings.contents_twice_in_a_split(clips) == Finding()
        assert findings.classes_below(clips, classes=["jump", "run"], split="train", minimum=1) == Finding()
        assert findings.classes_unbalanced(clips, classes=["jump", "run"], split="train", max_ratio=2) == Finding()
        assert findings.rejected(clips, max_share=0) == Finding()


def test_groups_across_splits():
    found = findings.groups_in_several_splits(altered(group=["g1", "g1", "g2", "g1", "g2"]))
    assert found == Finding("group 'g1' in train, val, group 'g2' in train, unlabelled", ("a", "b", "c", "d", "e"))


def test_contents_across_splits_are_not_copies_within_one():
    clips = altered(sha256=["same" * 16, "h2", "h3", "same" * 16, "h5"])
    assert findings.contents_in_several_splits(clips) == Finding("content samesame… in train, val", ("a", "d"))
    assert findings.contents_twice_in_a_split(clips) == Finding()


def test_copies_within_a_split_are_not_contents_across():
    clips = altered(sha256=["same", "h2", "same", "h4", "h5"])
    assert findings.contents_twice_in_a_split(clips) == Finding("a = c (train)", ("a", "c"))
    assert findings.contents_in_several_splits(clips) == Finding()


def test_classes_missing_by_split():
    found = findings.classes_missing(CLIPS, classes=["jump", "run", "wave"], splits=["train", "val"])
    assert found == Finding("train lacks wave; val lacks jump, wave")
    assert findings.classes_missing(CLIPS, classes=["jump"], splits=[]) == Finding()


def test_long_lists_are_counted():
    found = findings.classes_missing(CLIPS, classes=[f"k{i}" for i in range(8)], splits=["val"])
    assert found.observed == "val lacks k0, k1, k2, k3, k4 and 3 more"


def test_few_clips_and_balance_count_the_split_and_the_known_classes_only():
    assert findings.classes_below(CLIPS, classes=["jump", "run"], split="train", minimum=2) == Finding("run has 1")
    assert findings.classes_below(CLIPS, classes=["jump"], split="train", minimum=2) == Finding()
    found = findings.classes_unbalanced(CLIPS, classes=["jump", "run"], split="train", max_ratio=1.5)
    assert found == Finding("jump has 2 clips, run has 1: 2.0 to 1")
    assert findings.classes_unbalanced(CLIPS, classes=["jump"], split="train", max_ratio=1.5) == Finding()


def test_rejected_share_is_of_all_clips():
    clips = altered(status=["ok", "short", "ok", "unreadable", "ok"])
    assert findings.rejected(clips, max_share=0.4) == Finding()
    assert findings.rejected(clips, max_share=0.39) == Finding("2 of 5 (40.0 %): 1 short, 1 unreadable", ("b", "d"))


def test_clips_per_class_counts_by_split_and_keeps_unknown_labels():
    counts = findings.clips_per_class(CLIPS, classes=["jump", "wave"])
    assert counts == {"jump": {"train": 2}, "wave": {}, "run": {"train": 1, "val": 1}}
