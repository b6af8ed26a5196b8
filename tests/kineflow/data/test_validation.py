"""Each fault makes exactly its own check fail, and the check names the rows."""

import dataclasses
import hashlib
import html
import logging
import socket
from html.parser import HTMLParser

import pytest

from kineflow.data.validation.checks import ROWS_SHOWN, Check, Severity, Validation, one_line
from kineflow.data.validation.settings import ValidationSettings
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.page_policy import PAGE_POLICY

pytestmark = pytest.mark.slow

LIMITS = ValidationSettings(
    min_frames=8, min_clips_per_class=2, max_class_ratio=2, max_rejected_share=0.2, min_short_side=48
)


def make_clip(clip_id, split, label, **values):
    fields = {
        "clip_id": clip_id, "path": f"{clip_id}.mp4", "label": label, "group": clip_id, "split": Split(split),
        "frames": 16, "fps": 25.0, "width": 64, "height": 48, "rotation": 0,
        "sha256": hashlib.sha256(clip_id.encode()).hexdigest(), "status": Status.OK, "reason": "", "source": clip_id,
    }  # fmt: skip
    return Clip(**(fields | values))


def make_set():
    clips = [make_clip(f"{s}/{k}{i}", s, k) for s in ("train", "val", "test") for k in ("jump", "run") for i in (1, 2)]
    clips += [make_clip(f"unlabelled/{i}", "unlabelled", None) for i in (1, 2, 3)]
    return ClipSet(("jump", "run"), tuple(clips), "media")


def changed(clip_set, changes):
    clips = tuple(dataclasses.replace(c, **changes.get(c.clip_id, {})) for c in clip_set.clips)
    return dataclasses.replace(clip_set, clips=clips)


def with_clips(clip_set, *clips):
    return dataclasses.replace(clip_set, clips=clip_set.clips + clips)


def without(clip_set, keep):
    return dataclasses.replace(clip_set, clips=tuple(c for c in clip_set.clips if keep(c)))


def run(clip_set, limits=LIMITS):
    from kineflow.data.validation.suite import manifest_frame, rules, run_suite, verdict

    checked = rules(clip_set, limits)
    result = run_suite(manifest_frame(clip_set), checked)
    return verdict(checked, result), result


def failed(validation):
    return {check.name: check for check in validation.checks if not check.passed}


def test_a_good_set_passes_every_check():
    validation, _ = run(make_set())
    assert failed(validation) == {}
    assert len(validation.checks) == 22
    assert len({check.name for check in validation.checks}) == 22


SAME = hashlib.sha256(b"same").hexdigest()
REJECTED = {"status": Status.UNREADABLE, "path": "", "frames": 0, "fps": 0.0, "width": 0, "height": 0}
ONE, TWO = "train/jump1", "train/run2"

ROW_FAULTS = {  # each clip with another way of failing the same check
    "wrong types": ("types", {ONE: {"rotation": "0"}, TWO: {"source": 7}}),
    "unknown or no split": ("splits_known", {"unlabelled/1": {"split": "holdout"}, "unlabelled/2": {"split": None}}),
    "an unknown label": ("labels_known", {"unlabelled/1": {"split": Split.TRAIN, "label": "jmup"}}),
    "a label too few, one too many": (
        "labels_where_due", {"unlabelled/1": {"split": Split.TRAIN}, "unlabelled/2": {"label": "run"}},
    ),
    "no path, no hash, no group": (
        "files_named", {ONE: {"path": ""}, TWO: {"sha256": "unknown"}, "test/run2": {"group": None}},
    ),
    "no rate, infinite rate, no width, absurd height": (
        "sizes_positive",
        {
            ONE: {"fps": float("nan")}, TWO: {"fps": float("inf")}, "val/run1": {"fps": 0.0},
            "test/run2": {"width": None}, "test/run1": {"height": 10**12},
        },
    ),
    "short clips": ("long_enough", {ONE: {"frames": 7}, TWO: {"frames": 0}, "test/run2": {"frames": None}}),
    "small clips": ("large_enough", {ONE: {"height": 47}, TWO: {"width": 47}}),
    "content in two splits": (
        "content_in_one_split",
        {ONE: {"sha256": SAME}, "test/jump2": {"sha256": SAME}, "unlabelled/1": {"sha256": SAME}},
    ),
    "overlapping parts in two splits": (
        "content_in_one_split",
        {ONE: {"video_sha256": SAME}, "test/jump2": {"video_sha256": SAME, "first_frame": 15}},
    ),
    "other parts in two splits": (
        "videos_in_one_split",
        {ONE: {"video_sha256": SAME}, "test/jump2": {"video_sha256": SAME, "first_frame": 16}},
    ),
    "two labels of one content": ("content_under_one_label", {ONE: {"sha256": SAME}, TWO: {"sha256": SAME}}),
    "overlapping parts of two labels": (
        "frames_under_one_label",
        {ONE: {"video_sha256": SAME}, TWO: {"video_sha256": SAME, "first_frame": 8}},
    ),
    "a group in two splits": ("groups_in_one_split", {ONE: {"group": "g07"}, "val/jump1": {"group": "g07"}}),
    "a rejected clip": ("none_rejected", {"unlabelled/3": REJECTED}),
    "a copy within a split": (
        "content_once_in_a_split", {"unlabelled/1": {"sha256": SAME}, "unlabelled/3": {"sha256": SAME}},
    ),
}  # fmt: skip


def as_of_copy(clip, number):
    """The same clip, and the same fault, in a copy of the set that shares nothing with the others."""
    valid = len(clip.sha256) == 64
    return dataclasses.replace(
        clip,
        clip_id=f"{number}/{clip.clip_id}",
        path=clip.path and f"{number}/{clip.path}",
        group=clip.group and f"{number}/{clip.group}",
        sha256=hashlib.sha256(f"{number} {clip.sha256}".encode()).hexdigest() if valid else clip.sha256,
        video_sha256=clip.video_sha256 and f"{number} {clip.video_sha256}",
    )


def test_each_fault_fails_its_own_check_and_names_the_rows():
    """Each fault in a copy of the good set, all copies in one: a check that met another's fault would name its rows."""
    clips, rows = [], {}
    for number, (name, changes) in enumerate(ROW_FAULTS.values()):
        clips += [as_of_copy(clip, number) for clip in changed(make_set(), changes).clips]
        rows[name] = sorted([*rows.get(name, []), *(f"{number}/{clip_id}" for clip_id in changes)])
    validation, _ = run(dataclasses.replace(make_set(), clips=tuple(clips)))
    faults = failed(validation)
    assert {name: sorted(fault.rows) for name, fault in faults.items()} == rows
    for name, fault in faults.items():
        assert fault.row_count == len(rows[name])
        assert fault.observed
        assert fault.detail
        assert not fault.error


def test_ids_given_twice_are_named():
    twin = make_clip("train/run1", "train", "run", path="other.mp4", sha256=SAME)
    validation, _ = run(with_clips(make_set(), twin))
    assert set(failed(validation)) == {"clip_ids_unique"}
    assert failed(validation)["clip_ids_unique"].rows == ("train/run1",)


SET_FAULTS = {
    "a class lacks in test": (
        "classes_in_every_split", without(make_set(), lambda c: not c.clip_id.startswith("test/run")), "test lacks run",
    ),
    "a class of one clip": ("enough_per_class", without(make_set(), lambda c: c.clip_id != "train/run2"), "run has 1"),
    "one class far larger": (
        "classes_balanced", with_clips(make_set(), *(make_clip(f"train/more{i}", "train", "jump") for i in range(3))),
        "jump has 5 clips, run has 2: 2.5 to 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "clip_set", "observed"), SET_FAULTS.values(), ids=SET_FAULTS)
def test_faults_of_the_whole_set_say_what_was_seen(name, clip_set, observed):
    validation, _ = run(clip_set)
    assert set(failed(validation)) == {name}
    assert failed(validation)[name].observed == observed


def test_too_many_rejected_clips_are_critical():
    lost = [clip.clip_id for clip in make_set().clips if clip.clip_id.endswith("2")]
    limits = LIMITS.model_copy(update={"min_clips_per_class": 1})
    validation, _ = run(changed(make_set(), dict.fromkeys(lost, REJECTED)), limits)
    assert [check.name for check in validation.failed_critical] == ["rejected_share"]
    assert [check.name for check in validation.warnings] == ["none_rejected"]
    assert validation.failed_critical[0].observed == "7 of 15 (46.7 %): 7 unreadable"
    assert validation.failed_critical[0].rows == tuple(lost)


def test_a_set_of_rejected_clips_has_nothing_usable():
    validation, _ = run(changed(make_set(), {clip.clip_id: REJECTED for clip in make_set().clips}))
    assert {check.name for check in validation.failed_critical} == {
        "clips_usable", "classes_in_every_split", "rejected_share",
    }  # fmt: skip


def test_a_set_without_val_is_accepted_and_copies_may_be_allowed():
    clip_set = without(make_set(), lambda clip: clip.split != "val")
    copies = {"unlabelled/1": {"sha256": SAME}, "unlabelled/3": {"sha256": SAME}}
    limits = LIMITS.model_copy(update={"allow_duplicates_within_split": True, "min_short_side": 0})
    validation, _ = run(changed(clip_set, copies), limits)
    assert failed(validation) == {}
    assert not {"large_enough", "content_once_in_a_split"} & {check.name for check in validation.checks}


def test_a_check_that_cannot_be_evaluated_is_told_from_bad_data():
    from kineflow.data.validation.suite import manifest_frame, rules, run_suite, verdict

    checked = rules(make_set(), LIMITS)
    frame = manifest_frame(make_set()).drop(columns="fps")
    faults = failed(verdict(checked, run_suite(frame, checked)))
    assert set(faults) == {"columns", "types", "sizes_positive"}
    assert faults["columns"].observed == "missing fps"
    assert not faults["columns"].error
    assert '"fps"' in faults["sizes_positive"].error
    assert "not evaluated" in one_line(faults["sizes_positive"])


def test_rows_are_bounded_and_counted():
    many = [make_clip(f"unlabelled/more{i:02}", "unlabelled", "run") for i in range(ROWS_SHOWN + 5)]
    check = failed(run(with_clips(make_set(), *many))[0])["labels_where_due"]
    assert check.rows == tuple(clip.clip_id for clip in many[:ROWS_SHOWN])
    assert check.row_count == ROWS_SHOWN + 5


def test_it_is_silent_and_connects_to_nothing(monkeypatch, capfd, caplog):
    def refuse(*_):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with caplog.at_level(logging.DEBUG):
        run(changed(make_set(), {ONE: {"frames": "16"}}))
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


class _Links(HTMLParser):
    """What a browser would load or run."""

    def __init__(self):
        super().__init__()
        self.links, self.tags = [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "data", "srcset")]


def test_the_page_is_self_contained_repeatable_and_escapes_what_comes_from_outside():
    from kineflow.data.validation.page import render_page

    attack = "<script>alert('x')</script>"
    clip_set = changed(
        make_set(),
        {
            ONE: {"label": attack, "source": 7},
            "train/run1": {"group": attack},
            "test/run1": {"group": attack},
            "val/run1": REJECTED | {"reason": f"odd {attack}"},
        },
    )
    validation, result = run(clip_set)
    page = render_page(clip_set, validation, result)
    links = _Links()
    links.feed(page)
    assert all(link.startswith("#") for link in links.links)
    assert not links.tags & {"script", "link", "img", "iframe", "object"}
    assert "url(" not in page
    assert PAGE_POLICY in html.unescape(page)
    assert "@import" not in page
    assert attack not in page
    assert "odd &lt;script&gt;" in page
    assert "No group lies in two splits" in page
    assert "values must belong to this set" in page  # Great Expectations' own words
    assert "Clips cut from one source lie in one split." in page  # our own expectation's, in its data docs
    assert page == render_page(clip_set, validation, result)


def make_check(name="x", **values):
    return Check(**({"name": name, "title": "It holds", "severity": Severity.CRITICAL, "passed": False} | values))


def test_the_message_fits_one_screen_however_much_failed():
    rows = tuple(f"class/a_rather_long_clip_name_{i:04}" for i in range(20))
    checks = [
        make_check(f"c{i}", observed="seen " * 60, rows=rows, row_count=500, detail="do " * 60) for i in range(15)
    ]
    lines = Validation((*checks, make_check(passed=True))).message().splitlines()
    assert lines[0] == "15 of 16 checks of the clip set failed"
    assert len(lines) <= 20
    assert max(map(len, lines)) <= 100
    assert "500 clips" in lines[2]
    assert lines[-1].startswith("  and 9 more: c6, c7")


def test_the_message_leaves_warnings_out_and_says_what_why_and_the_remedy():
    checks = (
        make_check(
            title="Labels are known", observed="label 'jmup'", rows=("a", "b"), row_count=2, detail="correct it"
        ),
        make_check(severity=Severity.WARNING, title="Many clips", observed="few"),
        make_check(error="no column\nfps"),
    )
    assert Validation(checks).message() == "\n".join(
        [
            "2 of 3 checks of the clip set failed",
            "  ✗ Labels are known: label 'jmup'",
            "      2 clips: a, b",
            "      correct it",
            "  ✗ It holds: not evaluated (no column fps)",
        ]
    )
    assert [check.title for check in Validation(checks).warnings] == ["Many clips"]
