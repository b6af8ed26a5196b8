import dataclasses
import hashlib
import itertools
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from components.validate import failed_report, validate
from kineflow.data.validation.settings import ValidationSettings
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError
from kineflow.video.decode import read_frames
from kineflow.video.encode import write_video

pytestmark = pytest.mark.slow

PARAMS = ValidationSettings(min_clips_per_class=1, look_at_contents=False)  # of clips that are rows alone


def make_clip(clip_id, split, label):
    digest = hashlib.sha256(clip_id.encode()).hexdigest()
    return Clip(
        clip_id, f"{clip_id}.mp4", label, clip_id, split, 16, 25.0, 64, 48, 0, digest, Status.OK, "", clip_id
    )  # fmt: skip


def make_set(folder, **first):
    clips = [make_clip(f"{split}-{label}", split, label) for split in Split for label in ("jump", "run")]
    clips = [dataclasses.replace(c, label=None) if c.split is Split.UNLABELLED else c for c in clips]
    clips[0] = dataclasses.replace(clips[0], **first)
    ClipSet(("jump", "run"), tuple(clips), "media").save(folder)
    return folder


def test_a_good_set_gives_a_report_and_figures(tmp_path):
    report = tmp_path / "out" / "report.html"
    result = validate(clips=make_set(tmp_path / "clips"), params=PARAMS, report=report)
    assert "Passed: all 21 checks" in report.read_text()
    assert result.artifacts == {"validation.html": report}
    assert result.summary == "21 checks passed"
    assert result.tags["validation.outcome"] == "green"
    assert result.metrics == {
        "checks": 21, "failed_warnings": 0, "clips": 8, "clips_rejected": 0,
        "clips_train": 2, "clips_val": 2, "clips_test": 2, "clips_unlabelled": 2,
    }  # fmt: skip
    assert [path.name for path in report.parent.iterdir()] == ["report.html"]


def test_warnings_do_not_stop_but_are_shown_logged_and_counted(tmp_path, caplog):
    report = tmp_path / "report.html"
    result = validate(
        clips=make_set(tmp_path / "clips"), params=ValidationSettings(look_at_contents=False), report=report
    )
    assert result.metrics["failed_warnings"] == 1
    assert result.tags["validation.outcome"] == "accepted"
    assert not [record for record in caplog.records if record.name.startswith("great_expectations")]
    assert result.summary == (f"20 of 21 checks passed, the others are warnings: see {report}")
    assert "Classes have at least 5 training clips: jump has 1" in caplog.text
    assert "Passed, with 1 warning<" in report.read_text().replace("</p>", "<")


def test_a_critical_failure_stops_with_one_screen_and_leaves_the_page(tmp_path):
    clips, report = make_set(tmp_path / "clips", label="jmup"), tmp_path / "report.html"
    report.write_text("of an earlier run")
    with pytest.raises(KineflowError) as caught:
        validate(clips=clips, params=PARAMS, report=report)
    message = str(caught.value)
    assert "Labels are in the class list: label 'jmup'" in message
    assert "train-jump" in message
    assert str(failed_report(report)) in message
    assert len(message.splitlines()) <= 25
    assert not report.exists()
    assert "Failed: 2 critical checks of 21" in failed_report(report).read_text()

    make_set(tmp_path / "clips")
    validate(clips=clips, params=PARAMS, report=report)
    assert report.exists()
    assert not failed_report(report).exists()


def filmed_set(folder, light=1.0):
    """Two clips of each class and split, each of one thing that goes its way before a background of its own."""
    clips = []
    for number, (split, label, _) in enumerate(itertools.product(Split, ("jump", "run"), range(2))):
        clip = make_clip(f"{split}{number}", split, None if split is Split.UNLABELLED else label)
        rng = np.random.default_rng(number)
        background = cv2.resize(rng.uniform(50, 150, (6, 8)), (64, 48), interpolation=cv2.INTER_CUBIC)
        film = np.repeat(background[None], 16, axis=0)
        (y, x), (down, right) = rng.integers(4, 30, 2), rng.uniform(-1, 1, 2)
        for time, frame in enumerate(film):
            top, left = (int(np.clip(at + step * time, 0, 36)) for at, step in ((y, down), (x, right)))
            frame[top : top + 12, left : left + 12] = 230
        write_film(folder / "media" / clip.path, film * light)
        clips.append(clip)
    clip_set = ClipSet(("jump", "run"), tuple(clips), str(folder / "media"))
    clip_set.save(folder)
    return clip_set


def write_film(path, film, **coding):
    write_video(path, np.repeat(film[..., None], 3, axis=3).astype(np.uint8), fps=25, **coding)


def test_a_clip_that_shows_what_a_test_clip_shows_stops_the_run_and_the_page_has_their_pictures(tmp_path):
    media, report = filmed_set(tmp_path / "clips").media_root, tmp_path / "out" / "report.html"
    limits = ValidationSettings(min_clips_per_class=1)
    result = validate(clips=tmp_path / "clips", params=limits, report=report)
    assert result.summary == "29 checks passed"

    test, train = (next(Path(media).glob(f"{split}*.mp4")) for split in ("test", "train"))
    write_film(train, read_frames(test, pixel_format="gray")[1:], crf=30)  # of other bytes, and a frame shorter
    rows = [dataclasses.replace(c, frames=15) if c.path == train.name else c for c in filmed_rows(tmp_path / "clips")]
    ClipSet(("jump", "run"), tuple(rows), media).save(tmp_path / "clips")
    with pytest.raises(KineflowError, match="No clip shows what one of another split shows"):
        validate(clips=tmp_path / "clips", params=limits, report=report)
    page = failed_report(report).read_text()
    assert "Clips that show the same" in page
    assert all(f'alt="{path.stem}"' in page.partition("What the clips are like")[0] for path in (test, train))
    allowed = ValidationSettings(min_clips_per_class=1, allow_near_copies=True)
    assert validate(clips=tmp_path / "clips", params=allowed, report=report).metrics["failed_warnings"] >= 1


def filmed_rows(folder):
    return ClipSet.load(folder).clips


def test_clips_unlike_those_of_the_last_accepted_set_are_a_warning_until_others_are_accepted(tmp_path, caplog):
    report, limits = tmp_path / "out" / "report.html", ValidationSettings(min_clips_per_class=1)
    filmed_set(tmp_path / "clips")
    validate(clips=tmp_path / "clips", params=limits, report=report)
    dark = filmed_set(tmp_path / "dark", light=0.5)
    renamed = (dataclasses.replace(clip, sha256=clip.sha256[::-1]) for clip in dark.clips)
    dataclasses.replace(dark, clips=tuple(renamed)).save(tmp_path / "dark")
    for _ in range(2):  # a run that is done again says the same
        caplog.clear()
        result = validate(clips=tmp_path / "dark", params=limits, report=report)
        assert result.metrics["failed_warnings"] == 1
        assert "Clips are as those of the last set that was accepted: brightness" in caplog.text


def test_no_clip_set_is_a_clear_error(tmp_path):
    with pytest.raises(KineflowError, match="no readable clip set here"):
        validate(clips=tmp_path, params=PARAMS, report=tmp_path / "report.html")


@pytest.mark.parametrize(
    "values",
    [{"min_frames": 0}, {"max_class_ratio": 0.5}, {"max_rejected_share": 1.5}, {"min_short_side": -1},
     {"require_every_class_in": ["unlabelled"]}, {"min_frame": 3}, {"copy_correlation": 0.2}, {"max_drift": 2}],
)  # fmt: skip
def test_impossible_params_are_refused(values):
    with pytest.raises(KineflowError, match=next(iter(values))):
        parse_params(ValidationSettings, values, where="params.yaml: validate")


def test_importing_the_step_costs_nothing():
    heavy = "{'great_expectations', 'pandas', 'pyarrow', 'torch', 'mlflow'}"
    code = f"import sys, components.validate; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
