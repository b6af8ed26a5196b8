"""The localise step on a tiny clip set and tiny networks: files, figures, and mistakes found before anything is run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from components.frontend.contract import StepResult
from components.frontend.run import execute
from components.localise import localise
from kineflow.data.boxes import Track
from kineflow.evaluation.attention.compare import in_turn
from kineflow.models.bundle import load_bundle, save_bundle
from kineflow.models.card import ModelCard
from kineflow.models.registry import create_model
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_file import write_flow
from kineflow.sets.flow_set import FlowEntry, FlowSet
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.video.encode import write_video
from tests.boxes_file import write_boxes

CLASSES = ("left", "right")
FRAMES, SIDE = 7, 32
SMALL = {
    "backbone": "vgg16",
    "width": 0.0625,
    "output_stride": 8,
    "grid": 4,
    "hidden": 4,
    "head_width": 4,
    "pool": True,
}
NETWORKS = {
    "conv_lstm": ("rgb", {}),
    "conv_alstm": ("rgb", {}),
    "videolstm": ("rgb_flow", {"bottom_kernel": 3}),
}


@pytest.fixture(autouse=True)
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("KINEFLOW_RUN_ID", "DVC_STAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four test clips of a square that moves left or right, their flow, and boxes of all but the last."""
    folder, clips, entries, tracks = tmp_path_factory.mktemp("data"), [], {}, []
    for number in range(4):
        name, label = f"v{number}", CLASSES[number % 2]
        places = [2 * t if label == "right" else SIDE - 8 - 2 * t for t in range(FRAMES)]
        frames = np.full((FRAMES, SIDE, SIDE, 3), 40, np.uint8)
        for t, x in enumerate(places):
            frames[t, 12:20, x : x + 8] = 220
        write_video(folder / "clips" / "media" / f"{name}.mp4", frames, fps=25)
        write_flow(
            folder / "flow" / "media" / f"{name}.mp4", np.full((FRAMES - 1, SIDE, SIDE, 2), 120 + number, np.uint8)
        )
        entries[name] = FlowEntry(name, f"{name}.mp4", FRAMES - 1, SIDE, SIDE, Status.OK, "")
        clips.append(
            Clip(name, f"{name}.mp4", label, f"g{number}", Split.TEST, FRAMES, 25.0, SIDE, SIDE, 0, name, Status.OK,
                 "", name)
        )  # fmt: skip
        boxes = np.array([[x, 12, x + 8, 20] for x in places], float)
        tracks.append(Track(name, label, np.arange(FRAMES), boxes, SIDE, SIDE))
    ClipSet(CLASSES, tuple(clips), str(folder / "clips" / "media")).save(folder / "clips")
    FlowSet(20.0, entries, str(folder / "flow" / "media")).save(folder / "flow")
    write_boxes(folder / "boxes.csv", tracks[:3])
    return folder


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    for name, (modality, own) in NETWORKS.items():
        torch.manual_seed(0)
        channels, keywords = {"rgb": 3, "rgb_flow": 5}[modality], SMALL | own
        network = create_model(name, num_classes=len(CLASSES), in_channels=channels, **keywords)
        preprocessing = Preprocessing(modality, 4, 1, SIDE, SIDE, (127.5,) * channels, (64.0,) * channels)
        save_bundle(folder / name, network, ModelCard(name, name, keywords, CLASSES, preprocessing))
    return {name: folder / name for name in NETWORKS}


def run(data: Path, folder: Path, *models: Path, flow: bool = True, **params: Any) -> StepResult:
    given = {
        "clips": data / "clips",
        **({"flow": data / "flow"} if flow else {}),
        "models": list(models),
        "params": params,
        "localisation": folder / "localisation",
        "report": folder / "report.html",
    }
    return execute(localise, given)


@pytest.fixture(scope="module")
def done(data: Path, bundles: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StepResult]:
    folder = tmp_path_factory.mktemp("done")
    models = (bundles["videolstm"], bundles["conv_alstm"])
    return folder, run(data, folder, *models, boxes=str(data / "boxes.csv"), examples=2, least_iou=0.1)


def test_figures_of_every_model(done: tuple[Path, StepResult]) -> None:
    folder, result = done
    metrics = json.loads((folder / "localisation" / "metrics.json").read_text())
    assert list(metrics["models"]) == ["videolstm", "conv_alstm"]
    assert metrics["data"]["clips"] == 3  # those that have boxes
    assert metrics["settings"] == {"window_steps": 5, "sigma_px": 0.0, "threshold": 0.5, "least_iou": 0.1}
    for name, figures in metrics["models"].items():
        assert {"top1", "entropy", "video_map", "found", "tube_iou", "inside", "by_chance"} <= figures.keys()
        assert figures["by_chance"]["value"] == pytest.approx(8 * 8 / SIDE**2)
        assert result.metrics[f"{name}/tube_iou"] == figures["tube_iou"]["value"]
        assert all(figure["low"] <= figure["value"] <= figure["high"] for figure in figures.values())
    assert metrics["whole_frame"]["tube_iou"]["value"] == pytest.approx(8 * 8 / SIDE**2)
    assert result.summary.startswith("video_map: videolstm ")
    assert set(result.artifacts) == {"localisation", "report.html"}


def test_tubes_cover_every_frame(done: tuple[Path, StepResult], bundles: Mapping[str, Path], data: Path) -> None:
    table = pq.read_table(done[0] / "localisation" / "tubes.parquet")
    assert table.column_names == ["model", "clip_id", "label", "score", "frame", "left", "top", "right", "bottom"]
    rows = table.to_pylist()
    assert len(rows) == 2 * 3 * FRAMES
    assert all(0 <= row["left"] < row["right"] <= SIDE and 0 <= row["top"] < row["bottom"] <= SIDE for row in rows)
    assert [row["frame"] for row in rows[:FRAMES]] == list(range(FRAMES))
    # The label and the score are the model's own.
    from kineflow.evaluation.protocol import score_clips

    network, card = load_bundle(bundles["conv_alstm"])
    scores = score_clips(
        network, card, ClipSet.load(data / "clips"), None, Split.TEST, clips_per_video=2, batch_size=4
    )  # both of the windows of 4 of its 6 time steps that the step looks at
    mine = {row["clip_id"]: row for row in rows if row["model"] == "conv_alstm"}
    for clip_id, probabilities in zip(scores.clip_ids[:3], scores.probabilities(), strict=False):
        assert mine[clip_id]["score"] == pytest.approx(probabilities.max(), rel=1e-4)
        assert mine[clip_id]["label"] == CLASSES[probabilities.argmax()]


def test_the_report_shows_examples(done: tuple[Path, StepResult]) -> None:
    html = (done[0] / "report.html").read_text(encoding="utf-8")
    assert html.count("data:image/jpeg") == 2 * (2 + 2)  # frames, flow, and two models
    assert "where the actor is" in html


def test_without_true_boxes(data: Path, bundles: Mapping[str, Path], tmp_path: Path) -> None:
    result = run(data, tmp_path, bundles["conv_alstm"], flow=False)
    assert set(result.metrics) == {"conv_alstm/top1", "conv_alstm/entropy"}
    assert result.summary.startswith("entropy: conv_alstm ")
    assert "no true boxes" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert len(pq.read_table(tmp_path / "localisation" / "tubes.parquet")) == 4 * FRAMES


@pytest.mark.parametrize(
    ("models", "given", "message"),
    [
        (["conv_lstm"], {}, "has no attention over frames"),
        (["videolstm"], {"flow": False}, "no flow set was given"),
        (["conv_alstm", "conv_alstm"], {}, "several models are named 'conv_alstm'"),
        (["conv_alstm"], {"split": "val"}, "no usable clip in the split 'val'"),
        (["conv_alstm"], {"boxes": "absent.csv"}, "no readable file of boxes"),
        (["conv_alstm"], {"window_steps": 2}, "window_steps must be odd"),
    ],
)
def test_mistakes(
    data: Path, bundles: Mapping[str, Path], tmp_path: Path, models: list[str], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(KineflowError, match=message):
        run(data, tmp_path, *(bundles[name] for name in models), **given)
    assert list(tmp_path.iterdir()) == []


def test_examples_are_classes_in_turn(data: Path) -> None:
    clips = ClipSet.load(data / "clips").clips
    assert [clip.clip_id for clip in in_turn(clips[::-1], 3)] == ["v3", "v2", "v1"]
    assert [clip.clip_id for clip in in_turn((*clips[0::2], *clips[1::2]), 9)] == ["v0", "v1", "v2", "v3"]
    assert in_turn(clips, 0) == []
