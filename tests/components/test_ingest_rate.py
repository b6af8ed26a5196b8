"""One action, filmed at 10 and at 30 frames a second: the same stored clip, and the same answer."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from components.ingest import ingest
from kineflow.data.ingest_settings import IngestSettings
from kineflow.evaluation.view_protocol import centre_views
from kineflow.models.card import ModelCard
from kineflow.serving.predict import predict_video
from kineflow.sets.clip_set import ClipSet
from kineflow.spec.flow_source import FlowSource
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.tvl1 import PRESETS
from kineflow.storage.errors import KineflowError
from kineflow.video.decode import read_frames
from kineflow.video.encode import write_video

SLOW, FAST, SECONDS = 10, 30, 2
CODEC_NOISE = 6  # levels


def scene(moment_sec: float) -> np.ndarray:
    """A bright bar that crosses the picture once, evenly."""
    x = np.arange(64)
    row = 50 + 150 * np.exp(-(((x - 64 * moment_sec / SECONDS) / 6) ** 2))
    return np.repeat(np.repeat(row.astype(np.uint8)[None, :, None], 48, 0), 3, 2)


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filmed")
    for name, fps in (("slow", SLOW), ("fast", FAST)):
        write_video(folder / f"{name}.mp4", (scene(t / fps) for t in range(fps * SECONDS)), fps=fps, crf=4)
    (folder / "clips.csv").write_text("path,label,split\nslow.mp4,a,train\nfast.mp4,b,train\n")
    return folder


def ingested(filmed: Path, folder: Path, fps: float) -> ClipSet:
    ingest(params=IngestSettings(source=str(filmed), fps=fps, crf=4, val_share=0), clips=folder)
    return ClipSet.load(folder)


@pytest.mark.parametrize("fps", [10.0, 20.0])
def test_stored_clips_are_the_same(filmed: Path, tmp_path: Path, fps: float) -> None:
    clip_set = ingested(filmed, tmp_path / "clips", fps)
    assert clip_set.fps == fps
    assert {(clip.frames, clip.fps) for clip in clip_set.clips} == {(SECONDS * fps, fps)}
    fast, slow = (read_frames(clip_set.locate(clip)) for clip in clip_set.clips)
    off = np.abs(fast.astype(int) - slow)[:: int(fps / SLOW)]  # the moments that both have filmed
    assert off.max() <= CODEC_NOISE


def test_without_a_rate_nothing_is_what_it_was_not(filmed: Path, tmp_path: Path) -> None:
    plain, slow = ingested(filmed, tmp_path / "plain", 0.0), ingested(filmed, tmp_path / "slow", 10.0)
    assert "fps" not in (tmp_path / "plain" / "clipset.json").read_text()
    assert [clip.frames for clip in plain.clips] == [FAST * SECONDS, SLOW * SECONDS]
    assert plain.clips[1].path == slow.clips[1].path  # it has that rate already
    assert plain.clips[0].path != slow.clips[0].path


class Probe(nn.Module):
    """Logits that depend on every value of a clip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weights = nn.Parameter(torch.randn(3, channels, 4, 32, 32, generator=generator) / 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bcthw,kcthw->bk", x.double(), self.weights.double())


@pytest.mark.parametrize("modality", ["rgb", pytest.param("flow", marks=pytest.mark.slow)])
def test_answers_are_the_same(filmed: Path, modality: str) -> None:
    channels = 3 if modality == "rgb" else 2
    wanted = Preprocessing(modality, 4, 2, 36, 32, (128.0,) * channels, (64.0,) * channels, fps=10.0)  # type: ignore[arg-type]
    flow = FlowSource(PRESETS["fast"].model_dump(), 8.0, short_side=48)
    card = ModelCard("probe", "probe", {}, ("a", "b", "c"), wanted, flow=flow)
    its_own = dataclasses.replace(card, preprocessing=dataclasses.replace(wanted, fps=0.0))

    def apart(card: ModelCard) -> float:
        slow, fast = (
            predict_video(filmed / f"{name}.mp4", Probe(channels), card, views=centre_views(3))
            for name in ("slow", "fast")
        )
        return float(np.abs(slow - fast).max())

    assert apart(card) < 0.02
    assert apart(its_own) > 5 * apart(card)


def test_more_frames_than_are_taken_are_refused(filmed: Path) -> None:
    wanted = Preprocessing("rgb", 4, 2, 36, 32, (128.0,) * 3, (64.0,) * 3, fps=1000.0)
    card = ModelCard("probe", "probe", {}, ("a", "b", "c"), wanted)
    with pytest.raises(KineflowError, match="2000 frames of 64x48 px at the 1000 a second"):
        predict_video(filmed / "slow.mp4", Probe(3), card, max_frames=1999)


def test_a_model_of_another_rate_is_refused(filmed: Path, tmp_path: Path) -> None:
    clip_set = ingested(filmed, tmp_path / "clips", 10.0)
    clip_set.require_fps(10.0, of="model 'm'")
    with pytest.raises(KineflowError, match=r"at the rates of their sources, and this clip set has 10 frames a second"):
        clip_set.require_fps(0.0, of="model 'm'")
