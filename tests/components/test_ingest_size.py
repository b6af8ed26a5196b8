"""Clips of one size, larger than their sources and of another aspect: how they are stored, and what a model sees."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from components.ingest import ingest
from kineflow.data.ingest_settings import IngestSettings
from kineflow.evaluation.view_protocol import ONE_VIEW
from kineflow.models.card import ModelCard
from kineflow.serving.predict import predict_video
from kineflow.serving.timeline import timeline
from kineflow.sets.clip_set import ClipSet
from kineflow.spec.flow_source import FlowSource
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.tvl1 import PRESETS
from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError
from kineflow.video.decode import read_frames
from kineflow.video.encode import write_video

SIZE, FRAMES = (80, 64), 7


def scene(width: int, height: int, moment: int) -> np.ndarray:
    """Stripes that move to the right, brighter below."""
    across = 110 + 60 * np.sin((np.arange(width) - moment) * 2 * np.pi / 16)
    image = across[None, :] * np.linspace(0.6, 1.2, height)[:, None]
    return np.repeat(image.clip(0, 255).astype(np.uint8)[..., None], 3, 2)


@pytest.fixture(scope="module")
def clip_set(tmp_path_factory: pytest.TempPathFactory) -> ClipSet:
    folder = tmp_path_factory.mktemp("filmed")
    for name, width in (("usual", 64), ("wide", 128)):
        write_video(folder / f"{name}.mp4", (scene(width, 48, t) for t in range(FRAMES)), fps=25, crf=4)
    (folder / "clips.csv").write_text("path,label,split\nusual.mp4,a,train\nwide.mp4,b,train\n")
    settings = IngestSettings(source=str(folder), size=SIZE, crf=4, val_share=0)
    ingest(params=settings, clips=folder / "clips")
    return ClipSet.load(folder / "clips")


def test_every_clip_has_the_size_and_the_set_says_so(clip_set: ClipSet) -> None:
    assert clip_set.size == SIZE
    for clip in clip_set.clips:
        assert (clip.width, clip.height) == SIZE
        assert read_frames(clip_set.locate(clip)).shape == (FRAMES, SIZE[1], SIZE[0], 3)


@pytest.mark.parametrize("modality", ["rgb", "flow"])
def test_a_model_sees_a_video_as_the_clip_that_it_would_be(clip_set: ClipSet, modality: str) -> None:
    channels = 3 if modality == "rgb" else 2
    wanted = Preprocessing(modality, 4, 1, 64, 56, (128.0,) * channels, (64.0,) * channels, size=SIZE)  # type: ignore[arg-type]
    card = ModelCard("probe", "probe", {}, ("a", "b"), wanted, flow=FlowSource(PRESETS["fast"].model_dump(), 4.0))
    seen: list[torch.Tensor] = []

    class Probe(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            return torch.zeros(1, 2)

    usual, wide = clip_set.clips
    filmed = Path(clip_set.media_root).parent.parent
    [source] = filmed.rglob(wide.source)
    as_it_is = dataclasses.replace(card, preprocessing=dataclasses.replace(wanted, size=None))
    for video, of in ((Path(str(clip_set.locate(wide))), card), (source, card), (source, as_it_is)):
        predict_video(video, Probe(), of, views=ONE_VIEW)
    next(iter(timeline(source, Probe(), card, views=ONE_VIEW)))
    stored, sized, kept, sliding = seen[:4]
    assert usual.frames == wide.frames == FRAMES
    assert (stored - sized).abs().mean() < 0.1
    assert (stored - kept).abs().mean() > 3 * (stored - sized).abs().mean()
    assert sliding.shape == sized.shape


@pytest.mark.parametrize("size", [[340], [341, 256]])
def test_a_size_is_two_even_sides(size: list[int]) -> None:
    with pytest.raises(KineflowError, match=r"ingestion.size: must be a width and a height, both even"):
        parse_params(IngestSettings, {"size": size}, where="ingestion")


@pytest.mark.parametrize(("modality", "channels"), [("rgb", 3), ("flow", 2), ("rgb_flow", 5)])
def test_a_model_of_flow_of_another_size_is_refused(clip_set: ClipSet, modality: str, channels: int) -> None:
    made = Preprocessing(modality, 4, 1, 64, 56, (128.0,) * channels, (64.0,) * channels, size=SIZE)  # type: ignore[arg-type]
    clip_set.require_form(made, of="model 'm'")
    larger = dataclasses.replace(made, size=(340, 256))
    if modality == "rgb":
        clip_set.require_form(larger, of="model 'm'")
        return
    with pytest.raises(KineflowError, match="of 340x256 px, and this clip set has 80x64 px"):
        clip_set.require_form(larger, of="model 'm'")
    with pytest.raises(KineflowError, match="keeps the sizes of its sources"):
        dataclasses.replace(clip_set, size=None).require_form(made, of="model 'm'")
