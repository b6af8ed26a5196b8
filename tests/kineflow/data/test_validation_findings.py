import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from kineflow.data.validation import findings
from kineflow.data.validation.findings import Finding


def manifest(*rows):
    columns = ["clip_id", "split", "label", "group", "sha256", "status"]
    every = [*columns, "source", "frames", "first_frame", "video_sha256"]
    made = [
        dict(zip(columns, row, strict=True)) | {"source": row[0], "frames": 10, "first_frame": 0, "video_sha256": ""}
        for row in rows
    ]
    return pd.DataFrame(made, columns=every, dtype=object)


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
        assert findings.videos_in_several_splits(clips) == Finding()
        assert findings.contents_under_several_labels(clips) == Finding()
        assert findings.frames_under_several_labels(clips) == Finding()
        assert findings.classes_below(clips, classes=["jump", "run"], split="train", minimum=1) == Finding()
        assert findings.classes_unbalanced(clips, classes=["jump", "run"], split="train", max_ratio=2) == Finding()
        assert findings.rejected(clips, max_share=0) == Finding()


def test_groups_across_splits():
    finding = findings.groups_in_several_splits(altered(group=["g1", "g1", "g2", "g1", "g2"]))
    assert finding == Finding("group 'g1' in train, val", ("a", "b", "d"))  # what has no label teaches, as train does
    finding = findings.groups_in_several_splits(altered(group=["g1", "g2", "g2", "g3", "g3"]))
    assert finding == Finding("group 'g3' in val, unlabelled", ("d", "e"))


def test_contents_across_splits_are_not_copies_within_one():
    clips = altered(sha256=["same" * 16, "h2", "h3", "same" * 16, "h5"])
    assert findings.contents_in_several_splits(clips) == Finding("a in train = d in val", ("a", "d"))
    assert findings.contents_twice_in_a_split(clips) == Finding()


VIDEO = "v" * 64


def parts(*spans):
    """Clips of one video: (split, first frame, stop, label)."""
    rows = [(f"p{number}", split, label, f"g{number}", f"h{number}", "ok")
            for number, (split, _, _, label) in enumerate(spans)]  # fmt: skip
    clips = manifest(*rows)
    clips["source"], clips["video_sha256"] = "long.mp4", VIDEO
    clips["first_frame"] = pd.Series([first for _, first, _, _ in spans], dtype=object)
    clips["frames"] = pd.Series([stop - first for _, first, stop, _ in spans], dtype=object)
    return clips


def test_parts_of_a_video_share_frames_however_they_lie():
    found = findings.contents_in_several_splits
    assert found(parts(("train", 0, 30, "a"), ("test", 29, 40, "a"))).clip_ids == ("p0", "p1")
    assert found(parts(("train", 0, 30, "a"), ("test", 30, 40, "a"))) == Finding()
    within = parts(("train", 0, 100, "a"), ("train", 5, 8, "a"), ("val", 20, 30, "a"), ("val", 100, 110, "a"))
    assert found(within) == Finding("long.mp4 in train and val", ("p0", "p2"))
    alike = parts(("train", 5, 9, "a"), ("test", 5, 9, "a"), ("test", 50, 60, "a"))
    assert found(alike).clip_ids == ("p0", "p1")


@given(
    st.lists(st.tuples(st.sampled_from(["train", "val", "test"]), st.integers(0, 30), st.integers(1, 12)), max_size=9)
)
def test_they_are_those_of_which_a_pair_does(spans):
    clips = [(split, first, first + frames) for split, first, frames in spans]
    pairs = [(i, j) for i in range(len(clips)) for j in range(len(clips)) if clips[i][0] != clips[j][0]]
    meeting = {i for i, j in pairs if clips[i][1] < clips[j][2] and clips[j][1] < clips[i][2]}
    finding = findings.contents_in_several_splits(parts(*((*clip, "a") for clip in clips)))
    assert set(finding.clip_ids) == {f"p{number}" for number in meeting}


def test_other_parts_of_a_video_in_two_splits_are_told_apart_from_shared_frames():
    apart = parts(("train", 0, 30, "a"), ("test", 30, 40, "a"))
    assert findings.videos_in_several_splits(apart) == Finding("long.mp4 in train and test", ("p0", "p1"))
    assert findings.videos_in_several_splits(parts(("train", 0, 30, "a"), ("test", 29, 40, "a"))) == Finding()


def test_parts_without_a_label_may_be_of_a_video_of_train_and_of_no_other():
    for split, found in (("train", Finding()), ("val", Finding("long.mp4 in val and unlabelled", ("p0", "p1")))):
        assert findings.videos_in_several_splits(parts((split, 0, 30, "a"), ("unlabelled", 30, 40, None))) == found


def test_two_labels_of_the_same_bytes_and_of_shared_frames():
    copies = altered(sha256=["same", "h2", "same", "h4", "same"])
    assert findings.contents_under_several_labels(copies) == Finding("a in jump = c in run", ("a", "c"))
    assert findings.frames_under_several_labels(copies) == Finding()
    overlapping = parts(("train", 0, 30, "a"), ("train", 20, 40, "b"), ("train", 50, 60, "b"))
    assert findings.frames_under_several_labels(overlapping) == Finding("long.mp4 in a and b", ("p0", "p1"))
    assert findings.contents_under_several_labels(overlapping) == Finding()


def test_copies_within_a_split_are_not_contents_across():
    clips = altered(sha256=["same", "same", "same", "h4", "h5"])
    assert findings.contents_twice_in_a_split(clips) == Finding("a = b (train)", ("a", "b"))
    assert findings.contents_in_several_splits(clips) == Finding()


def test_classes_missing_by_split():
    finding = findings.classes_missing(CLIPS, classes=["jump", "run", "wave"], splits=["train", "val"])
    assert finding == Finding("train lacks wave; val lacks jump, wave")
    assert findings.classes_missing(CLIPS, classes=["jump"], splits=[]) == Finding()


def test_long_lists_are_counted():
    finding = findings.classes_missing(CLIPS, classes=[f"k{i}" for i in range(8)], splits=["val"])
    assert finding.observed == "val lacks k0, k1, k2, k3, k4 and 3 more"


def test_few_clips_and_balance_count_the_split_and_the_known_classes_only():
    assert findings.classes_below(CLIPS, classes=["jump", "run"], split="train", minimum=2) == Finding("run has 1")
    assert findings.classes_below(CLIPS, classes=["jump"], split="train", minimum=2) == Finding()
    finding = findings.classes_unbalanced(CLIPS, classes=["jump", "run"], split="train", max_ratio=1.5)
    assert finding == Finding("jump has 2 clips, run has 1: 2.0 to 1")
    assert findings.classes_unbalanced(CLIPS, classes=["jump"], split="train", max_ratio=1.5) == Finding()


def test_rejected_share_is_of_all_clips():
    clips = altered(status=["ok", "short", "ok", "unreadable", "ok"])
    assert findings.rejected(clips, max_share=0.4) == Finding()
    assert findings.rejected(clips, max_share=0.39) == Finding("2 of 5 (40.0 %): 1 short, 1 unreadable", ("b", "d"))


def test_clips_per_class_counts_by_split_and_keeps_unknown_labels():
    counts = findings.clips_per_class(CLIPS, classes=["jump", "wave"])
    assert counts == {"jump": {"train": 2}, "wave": {}, "run": {"train": 1, "val": 1}}
