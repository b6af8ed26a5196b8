"""Clips of several classes, from Hollywood2's lists to a prediction: a tiny tree in the form of the data set."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from components.evaluate import evaluate
from components.extract_features import extract_features
from components.frontend.run import execute
from components.ingest import ingest
from components.merge_clips import merge_clips
from components.train_recurrent import train_recurrent
from kineflow.data.validation import findings
from kineflow.data.validation.suite import manifest_frame
from kineflow.evaluation.compare import compare_models
from kineflow.evaluation.settings import EvaluateSettings
from kineflow.models.bundle import load_bundle, save_bundle
from kineflow.models.card import ModelCard
from kineflow.models.registry import create_model
from kineflow.registry.outcomes import outcomes_of
from kineflow.serving.predict import predict_video
from kineflow.sets.clip_set import ClipSet, clips_digest
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.video.encode import write_video

CLASSES = ("Eat", "Run", "StandUp")  # light is in the left half, the right half, the middle rows
SIDE = 32
CUBE = {
    "network": {"name": "cube_regression", "multi_label": True}, "frames": 4, "windows": "random", "steps": 60,
    "validate_every_steps": 30, "batch_size": 12, "cache_mb": 64,
    "optimiser": {"name": "adam", "learning_rate": 0.02, "weight_decay": 0, "schedule": "constant", "warmup_ratio": 0},
}  # fmt: skip


def write_tree(root: Path) -> Path:
    """Videos and lists as they are unpacked; of three classes, each with and without every other."""
    uses = {label: {"train": list[str](), "test": list[str]()} for label in CLASSES}
    for split, copies in (("train", 3), ("test", 1)):
        for number in range(7 * copies):
            labels = [label for bit, label in enumerate(CLASSES) if (number % 7 + 1) >> bit & 1]
            name = f"actionclip{split}{number + 1:05d}"
            write_clip(root / "AVIClips" / f"{name}.avi", labels, dim=20 * (number // 7) + 10 * (split == "test"))
            for label in CLASSES:
                uses[label][split].append(f"{name}  {1 if label in labels else -1}")
    (root / "ClipSets").mkdir()
    for label, by_split in uses.items():
        for split, lines in by_split.items():
            (root / "ClipSets" / f"{label}_{split}.txt").write_text("\n".join(lines) + "\n")
    (root / "ClipSets" / "EXT-House_test.txt").write_text("sceneclipttest00001  1\n")
    (root / "ClipSets" / "Eat_autotrain.txt").write_text("actionclipautoautotrain00001  1\n")
    return root


def write_clip(path: Path, labels: list[str], *, dim: int = 0) -> Path:
    picture = np.full((SIDE, SIDE, 3), 20, np.uint8)
    lit = {"Eat": np.s_[:, :8], "Run": np.s_[:, -8:], "StandUp": np.s_[12:20, 10:22]}
    for label in labels:
        picture[lit[label]] = 230 - dim
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, iter([picture] * 6), fps=25, gop=12)
    return path


class Made(NamedTuple):
    clips: Path
    features: Path
    backbone: Path
    model: Path
    evaluation: Path
    report: Path
    metrics: Mapping[str, float]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("source"))


def ingested(source: Path, folder: Path, **more: Any) -> Path:
    params = {"source": str(source), "layout": "hollywood2", "val_share": 0.1, "short_side": SIDE}
    execute(ingest, {"params": params, "clips": folder, **more})
    return folder


@pytest.fixture(scope="module")
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    clips = ingested(source, folder / "clips")
    hyperparameters = {"backbone": "googlenet", "width": 0.25, "output_stride": 8}
    torch.manual_seed(0)
    network = create_model("tsn", num_classes=0, in_channels=3, **hyperparameters)
    seen = Preprocessing("rgb", 1, 1, SIDE, SIDE, (100.0,) * 3, (50.0,) * 3, segments=1)
    save_bundle(folder / "backbone", network, ModelCard("rgb", "tsn", hyperparameters, (), seen))
    given = {"clips": clips, "backbone": folder / "backbone"}
    execute(extract_features, {**given, "params": {}, "features": folder / "features"})
    learnt = {**given, "features": folder / "features", "params": CUBE, "name": "cube", "model": folder / "cube"}
    execute(train_recurrent, learnt)
    judged = execute(
        evaluate,
        {
            "clips": clips, "models": [folder / "cube"], "params": {"examples": 7, "student": "cube"},
            "evaluation": folder / "evaluation", "report": folder / "report.html",
        },
    )  # fmt: skip
    return Made(
        clips, folder / "features", folder / "backbone", folder / "cube", folder / "evaluation", folder / "report.html",
        judged.metrics,
    )  # fmt: skip


def test_the_lists_are_read_whole(made: Made) -> None:
    clip_set = ClipSet.load(made.clips)
    assert (clip_set.classes, clip_set.multi_label) == (CLASSES, True)
    by_id = {clip.clip_id.rpartition("/")[2]: clip.labels for clip in clip_set.clips}
    assert len(by_id) == 28
    assert (by_id["actioncliptest00001"], by_id["actioncliptest00006"]) == (("Eat",), ("Run", "StandUp"))
    assert by_id["actioncliptest00007"] == CLASSES
    counted = {split: len(clip_set.usable(split)) for split in (Split.TRAIN, Split.VAL, Split.TEST)}
    assert counted[Split.TEST] == 7
    assert counted[Split.VAL] > 0


def test_every_class_is_learnt_by_itself(made: Made) -> None:
    assert made.metrics["cube/average_precision"] == pytest.approx(1)
    assert made.metrics["cube/top1"] == 1
    assert "cube/mean_class_accuracy" not in made.metrics
    # All are as often there as not: to rank by that is to guess.
    assert made.metrics["baselines/class prior/average_precision"] == pytest.approx(4 / 7)
    data = json.loads((made.evaluation / "metrics.json").read_text())["data"]
    assert data["multi_label"] is True
    with (made.evaluation / "per_class.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == "cube"]
    assert [(row["class"], int(row["clips"]), float(row["accuracy"])) for row in rows] == [(c, 4, 1) for c in CLASSES]


def test_the_report_says_what_was_measured(made: Made) -> None:
    page = made.report.read_text()
    assert "mAP, %" in page
    assert "mean class, %" not in page
    assert "<strong>Run, StandUp</strong> <code>AVIClips/actioncliptest00006" in page


def test_a_video_may_have_several_classes(made: Made, tmp_path: Path) -> None:
    network, card = load_bundle(made.model)
    for labels in (["Run"], ["Eat", "StandUp"], list(CLASSES)):
        shares = predict_video(write_clip(tmp_path / f"{len(labels)}.mp4", labels), network, card)
        assert [label for label, share in zip(card.classes, shares, strict=True) if share > 0.5] == labels


def test_shards_and_the_whole_are_one_set(source: Path, made: Made, tmp_path: Path) -> None:
    shards = [ingested(source, tmp_path / str(number), shard=f"{number}/2") for number in range(2)]
    execute(merge_clips, {"shards": shards, "clips": tmp_path / "whole"})
    whole, one = ClipSet.load(tmp_path / "whole"), ClipSet.load(made.clips)
    assert whole.multi_label
    assert [(clip.clip_id, clip.labels, clip.split) for clip in whole.clips] == [
        (clip.clip_id, clip.labels, clip.split) for clip in one.clips
    ]
    assert clips_digest(whole.clips) == clips_digest(one.clips)


def test_another_further_class_is_other_data(made: Made) -> None:
    clips = list(ClipSet.load(made.clips).clips)
    several = next(number for number, clip in enumerate(clips) if clip.also)
    changed = [*clips[:several], dataclasses.replace(clips[several], also=""), *clips[several + 1 :]]
    assert clips_digest(changed) != clips_digest(clips)


def test_what_takes_one_class_a_clip_says_so(made: Made, tmp_path: Path) -> None:
    single = {**CUBE, "network": {"name": "cube_regression"}}
    given = {"clips": made.clips, "features": made.features, "backbone": made.backbone, "name": "cube"}
    with pytest.raises(KineflowError, match=r"several classes at once, and 'cube' without network\.multi_label"):
        execute(train_recurrent, {**given, "params": single, "model": tmp_path / "model"})
    with pytest.raises(KineflowError, match="view_aggregation: majority takes one class"):
        compare_models([made.model], ClipSet.load(made.clips), None, EvaluateSettings(view_aggregation="majority"))
    with pytest.raises(KineflowError, match="takes one class a clip"):
        ClipSet.load(made.clips).label_index(ClipSet.load(made.clips).clips[0])


def test_the_gate_pairs_answers(made: Made) -> None:
    outcomes = outcomes_of(made.evaluation, "cube")
    assert outcomes is not None
    assert not outcomes.ranks.any()


def test_checks_count_a_clip_for_each_of_its_classes(made: Made) -> None:
    manifest = manifest_frame(ClipSet.load(made.clips))
    assert not findings.classes_below(manifest, classes=CLASSES, split="train", minimum=9).observed
    assert findings.classes_below(manifest, classes=CLASSES, split="train", minimum=13).observed
    assert {
        name: of["test"] for name, of in findings.clips_per_class(manifest, classes=CLASSES).items()
    } == dict.fromkeys(CLASSES, 4)
