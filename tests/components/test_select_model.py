import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.describe import describe
from components.frontend.run import execute
from components.pretrain_descriptor import pretrain_descriptor
from components.register import register
from components.select_model import select_model
from kineflow.evaluation.protocol import score_clips
from kineflow.evaluation.scores import Scores
from kineflow.models.bundle import load_bundle
from kineflow.registry.measured import read_evaluation
from kineflow.registry.registration_settings import RegistrationSettings
from kineflow.sets.clip_set import ClipSet
from kineflow.sets.feature_set import FeatureSet
from kineflow.sets.flow_set import FlowSet
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError

pytestmark = pytest.mark.slow

PARAMS = {"folds": 3, "strengths": [1.0], "examples": 1}


@pytest.fixture(scope="module")
def made(tiny_data, tmp_path_factory) -> dict[str, Path]:
    """Descriptor and descriptions of the tiny clips; 4 train and 2 val have labels."""
    folder = tmp_path_factory.mktemp("made")
    execute(pretrain_descriptor, {"params": {"frames": 4, "crop": 16}, "descriptor": folder / "descriptor"})
    given = {"clips": tiny_data.clips, "flow": tiny_data.flow, "descriptor": folder / "descriptor"}
    execute(describe, {**given, "params": {}, "descriptions": folder / "descriptions"})
    return {**given, "descriptions": folder / "descriptions"}


def select(made: dict[str, Path], out: Path, **changes):
    outputs = {"model": out / "model", "evaluation": out / "evaluation", "report": out / "report.html"}
    return execute(select_model, {**made, "params": PARAMS, "seed": 0, **outputs, **changes}), out


def test_every_labelled_clip_is_judged_by_folds_beside_trivial_baselines(made, tmp_path):
    result, out = select(made, tmp_path)
    metrics = json.loads((out / "evaluation" / "metrics.json").read_text())
    assert metrics["data"]["split"] == "folds"
    assert metrics["data"]["clips"] == 6
    assert {"blend", "motion", "flow", "motion and flow and direction", "baselines"} <= metrics.keys()
    assert "appearance" not in metrics  # there is no backbone
    assert {"class prior", "motion energy"} <= metrics["baselines"].keys()
    assert metrics["label_efficiency"]["points"][-1]["top1"] == metrics["blend"]["top1"]
    assert "blend is the mean of" in result.summary
    assert "6 clips" in (out / "report.html").read_text()


def test_the_model_answers_videos_as_it_answered_descriptions(made, tiny_data, tmp_path):
    """What was fitted on stored numbers is a network like any other."""
    clip_set, flow_set = ClipSet.load(tiny_data.clips), FlowSet.load(tiny_data.flow)
    tested = ClipSet(
        clip_set.classes,
        tuple(replace(clip, split=Split.TEST) if clip.split is Split.VAL else clip for clip in clip_set.clips),
        clip_set.media_root,
    )
    tested.save(tmp_path / "clips")
    _, out = select(made, tmp_path, clips=tmp_path / "clips")
    stored = Scores.load(out / "evaluation" / "scores" / "blend.parquet")
    network, card = load_bundle(out / "model")
    views = read_evaluation(out / "evaluation", "blend").views
    assert views is not None
    assert views.windows == "covering"
    asked = score_clips(
        network, card, tested, flow_set, Split.TEST, clips_per_video=views.clips_per_video, layout=views.windows,
        batch_size=4,
    )  # fmt: skip
    assert stored.clip_ids == asked.clip_ids
    # Descriptions are kept in 16 bits.
    np.testing.assert_allclose(stored.probabilities(), asked.probabilities(), atol=0.02)


def test_a_new_label_describes_nothing_again(made, tiny_data, tmp_path, caplog):
    clip_set = ClipSet.load(tiny_data.clips)
    relabelled = tuple(replace(clip, label="light") if clip.label else clip for clip in clip_set.clips)
    ClipSet(clip_set.classes, relabelled, clip_set.media_root).save(tmp_path / "clips")
    given = {key: made[key] for key in ("flow", "descriptor")} | {"clips": tmp_path / "clips"}
    folder = tmp_path / ".dvc"
    folder.mkdir()
    for name, new in (("first", "6 clips were new"), ("second", "0 clips were new")):
        result = execute(describe, {**given, "params": {}, "descriptions": tmp_path / name / "descriptions"})
        assert new in result.summary
    with pytest.raises(KineflowError, match="'dark'"):
        select({**made, "clips": tmp_path / "clips"}, tmp_path)


def test_a_stored_clip_that_cannot_be_read_is_listed_with_the_reason(made, tiny_data, tmp_path):
    clip_set = ClipSet.load(tiny_data.clips)
    shutil.copytree(clip_set.media_root, tmp_path / "media")
    broken = clip_set.usable(Split.TRAIN)[0]
    (tmp_path / "media" / broken.path).write_bytes(b"no video")
    replace(clip_set, media_root=str(tmp_path / "media")).save(tmp_path / "clips")
    given = {key: made[key] for key in ("flow", "descriptor")} | {"clips": tmp_path / "clips"}
    result = execute(describe, {**given, "params": {}, "descriptions": tmp_path / "descriptions"})
    entry = FeatureSet.load(tmp_path / "descriptions").entries[broken.clip_id]
    assert entry.status is Status.UNREADABLE
    assert entry.reason
    assert result.metrics["failed"] == 1


def test_descriptions_of_another_network_are_refused(made, tmp_path):
    described = FeatureSet.load(made["descriptions"])
    replace(described, source=replace(described.source, backbone="0" * 64)).save(tmp_path / "other")
    with pytest.raises(KineflowError, match="another network"):
        select(made, tmp_path, descriptions=tmp_path / "other")


def test_descriptions_of_clips_at_another_rate_are_refused(made, tiny_data, tmp_path):
    replace(ClipSet.load(tiny_data.clips), fps=12.0).save(tmp_path / "clips")
    with pytest.raises(KineflowError, match="this clip set has 12 frames a second"):
        select(made, tmp_path, clips=tmp_path / "clips")


def test_what_is_not_above_the_baselines_is_not_registered(made, tmp_path):
    _, out = select(made, tmp_path)
    params = RegistrationSettings(name="tiny", above_baselines=True)
    result = register(
        model=out / "model", evaluation=out / "evaluation", params=params, registration=tmp_path / "registration.json"
    )
    written = json.loads((tmp_path / "registration.json").read_text())
    assert written["name"] == "tiny"
    assert "version" not in written
    assert any("that may be chance" in reason for reason in written["refused"])
    assert result.summary.startswith("nothing is registered as tiny")
