import dataclasses
import hashlib
import subprocess
import sys

import pytest

from components.validate import failed_report, validate
from kineflow.data.validation.settings import ValidationSettings
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError

pytestmark = pytest.mark.slow

PARAMS = ValidationSettings(min_clips_per_class=1)


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
    assert result.metrics == {
        "checks": 21, "failed_warnings": 0, "clips": 8, "clips_rejected": 0,
        "clips_train": 2, "clips_val": 2, "clips_test": 2, "clips_unlabelled": 2,
    }  # fmt: skip
    assert [path.name for path in report.parent.iterdir()] == ["report.html"]


def test_warnings_do_not_stop_but_are_shown_logged_and_counted(tmp_path, caplog):
    report = tmp_path / "report.html"
    result = validate(clips=make_set(tmp_path / "clips"), params=ValidationSettings(), report=report)
    assert result.metrics["failed_warnings"] == 1
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


def test_no_clip_set_is_a_clear_error(tmp_path):
    with pytest.raises(KineflowError, match="no readable clip set here"):
        validate(clips=tmp_path, params=PARAMS, report=tmp_path / "report.html")


@pytest.mark.parametrize(
    "values",
    [{"min_frames": 0}, {"max_class_ratio": 0.5}, {"max_rejected_share": 1.5}, {"min_short_side": -1},
     {"require_every_class_in": ["unlabelled"]}, {"min_frame": 3}],
)  # fmt: skip
def test_impossible_params_are_refused(values):
    with pytest.raises(KineflowError, match=next(iter(values))):
        parse_params(ValidationSettings, values, where="params.yaml: validate")


def test_importing_the_step_costs_nothing():
    heavy = "{'great_expectations', 'pandas', 'pyarrow', 'torch', 'mlflow'}"
    code = f"import sys, components.validate; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
