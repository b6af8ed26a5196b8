"""The blend beside networks: learnt from ``train`` alone, compared on the same clips, registered where it wins."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from components.choose_model import choose_model
from components.describe import describe
from components.evaluate import evaluate
from components.frontend.run import execute
from components.pretrain_descriptor import pretrain_descriptor
from components.register import register
from components.train_blend import train_blend
from kineflow.evaluation.scores import Scores
from kineflow.evaluation.view_protocol import ONE_VIEW
from kineflow.models.bundle import load_bundle, save_bundle, weights_digest
from kineflow.models.card import load_card
from kineflow.serving.predict import predict_video
from kineflow.sets.clip_set import ClipSet
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError

pytestmark = pytest.mark.slow

PARAMS = {"folds": 2, "strengths": [1.0], "families": ["motion"]}  # the tiny flow cannot be made again of a video


@pytest.fixture(scope="module")
def made(tiny_data, tmp_path_factory) -> dict[str, Path]:
    """Descriptor and descriptions of the tiny clips; those without a label are ``test`` here, and have one."""
    folder = tmp_path_factory.mktemp("made")
    clip_set = ClipSet.load(tiny_data.clips)
    clips = tuple(
        clip
        if clip.label
        else replace(clip, split=Split.TEST, label=clip_set.classes[int(clip.clip_id.rpartition("-")[2]) % 2])
        for clip in clip_set.clips
    )
    ClipSet(clip_set.classes, clips, clip_set.media_root).save(folder / "clips")
    execute(pretrain_descriptor, {"params": {"frames": 4, "crop": 16}, "descriptor": folder / "descriptor"})
    given = {"clips": folder / "clips", "flow": tiny_data.flow, "descriptor": folder / "descriptor"}
    execute(describe, {**given, "params": {}, "descriptions": folder / "descriptions"})
    return {**given, "descriptions": folder / "descriptions"}


def blend(made: dict[str, Path], model: Path, **changes) -> Path:
    given = {name: made[name] for name in ("clips", "descriptions", "descriptor")}
    execute(train_blend, {**given, "params": PARAMS, "name": "blend", "seed": 0, "model": model, **changes})
    return model


def relabelled(made: dict[str, Path], folder: Path, *splits: Split) -> Path:
    """The clip set with all clips of some splits in the first class."""
    clip_set = ClipSet.load(made["clips"])
    clips = tuple(replace(c, label=clip_set.classes[0]) if c.split in splits else c for c in clip_set.clips)
    replace(clip_set, clips=clips).save(folder)
    return folder


def test_what_judges_is_not_learnt_from(made, tmp_path):
    first = weights_digest(blend(made, tmp_path / "one"))
    other = relabelled(made, tmp_path / "clips", Split.VAL, Split.TEST)
    assert weights_digest(blend(made, tmp_path / "two", clips=other)) == first
    with pytest.raises(KineflowError, match="of one group or none"):
        blend(made, tmp_path / "three", clips=relabelled(made, tmp_path / "less", Split.TRAIN))


def test_the_blend_is_chosen_over_a_network_that_knows_nothing_registered_and_answers(
    made, tiny_initial, tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    network, card = load_bundle(tiny_initial["rgb"])
    torch.manual_seed(0)
    network.reset_classifier(2)
    sees = replace(card.preprocessing, frames=4, short_side=16, crop=16)
    save_bundle(tmp_path / "plain", network, replace(card, name="plain", classes=("dark", "light"), preprocessing=sees))
    models = [tmp_path / "plain", blend(made, tmp_path / "blend")]
    params = {"clips_per_video": 1, "choose_among": ["blend", "plain"], "examples": 1,
              "fusion": [{"models": ["plain", "blend"]}]}  # fmt: skip
    outputs = {"evaluation": tmp_path / "evaluation", "report": tmp_path / "report.html"}
    execute(evaluate, {"clips": made["clips"], "flow": made["flow"], "models": models, "params": params, **outputs})
    metrics = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert metrics["data"]["student"] == "blend"
    assert metrics["data"]["chosen_on_val"]["clips"] == 2
    assert {"plain", "blend"} <= metrics.keys()

    execute(choose_model, {"models": models, "evaluation": tmp_path / "evaluation", "model": tmp_path / "model"})
    given = {"model": tmp_path / "model", "evaluation": tmp_path / "evaluation", "params": {"name": "tiny"}}
    execute(register, {**given, "registration": tmp_path / "registration.json"})
    assert json.loads((tmp_path / "registration.json").read_text())["version"] == "1"

    chosen, card = load_bundle(tmp_path / "model")
    assert load_card(tmp_path / "model").name == "blend"
    clip_set, scores = ClipSet.load(made["clips"]), Scores.load(tmp_path / "evaluation" / "scores" / "blend.parquet")
    assert (scores.logits.argmax(axis=1) == scores.labels).all()
    answer = predict_video(clip_set.locate(clip_set.usable(Split.TEST)[1]), chosen, card, views=ONE_VIEW)
    assert answer.argmax() == scores.labels[1]
