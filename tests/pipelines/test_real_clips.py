"""Nine real clips of UCF101, HMDB51 and Kinetics through the whole recipe, one round a training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.long

LISTED = """\
path,label,split,group
RATRACE_wave_f_nm_np1_fr_goo_37.avi,wave,train,ratrace
SchoolRulesHowTheyHelpUs_wave_f_nm_np1_ba_med_0.avi,wave,val,school
TrumanShow_wave_f_nm_np1_fr_med_26.avi,wave,test,truman
v_SoccerJuggling_g23_c01.avi,juggle,train,g23
v_SoccerJuggling_g24_c01.avi,juggle,test,g24
hmdb51_Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6.avi,juggle,val,pippi
R6llTwEh07w.mp4,,unlabelled,R6llTwEh07w
SOX5yA1l24A.mp4,,unlabelled,SOX5yA1l24A
WUzgd7C1pWA.mp4,,unlabelled,WUzgd7C1pWA
"""
TRAINING = {
    "frames": 8, "stride_frames": 4, "short_side": 48, "crop": 48, "steps": 1, "validate_every_steps": 1,
    "batch_size": 2, "cache_mb": 0,
}  # fmt: skip


def test_real_clips_become_a_registered_model(bare_project: Any, shared_data: Path) -> None:
    (bare_project.folder / "clips.csv").write_text(LISTED)
    params = yaml.safe_load((bare_project.folder / "params.yaml").read_text())
    params |= {
        "ingestion": {
            "source": str(shared_data / "clips"), "annotations": "clips.csv", "layout": "csv", "short_side": 48,
        },
        "validation": {"min_frames": 30, "min_clips_per_class": 1},
        "teacher": TRAINING,
        "student": TRAINING,
        "distillation": {"unlabelled_batch_size": 2},
        "registration": {"name": "real"},
    }  # fmt: skip
    (bare_project.folder / "params.yaml").write_text(yaml.safe_dump(params))

    done = bare_project.kineflow("run", "d3d")

    assert done.code == 0, done.said
    registration = json.loads((bare_project.folder / "outputs/register/registration").read_text())
    assert registration["name"] == "real"
    predicted = bare_project.kineflow(
        "predict", str(shared_data / "clips" / "WUzgd7C1pWA.mp4"), "--model", "models:/real@candidate", "--top", "2"
    )
    assert predicted.code == 0, predicted.said
    assert {line.split()[-1] for line in predicted.said.strip().splitlines()[-2:]} == {"juggle", "wave"}
