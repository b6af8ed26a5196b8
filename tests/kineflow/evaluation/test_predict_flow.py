"""Networks that take flow, asked about a video file: as the test protocol asks them about the ingested clip."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from kineflow.evaluation.protocol import score_clips
from kineflow.evaluation.view_protocol import centre_views
from kineflow.flow.extraction.engine import extract_set
from kineflow.flow.extraction.settings import ExtractSettings
from kineflow.models.bundle import load_bundle, save_bundle
from kineflow.models.card import ModelCard
from kineflow.models.registry import create_model
from kineflow.serving.predict import predict_video
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_set import FlowSet
from kineflow.spec.flow_source import FlowSource
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.spec.tvl1 import PRESETS
from kineflow.storage.errors import KineflowError
from kineflow.video import store
from kineflow.video.encode import write_video
from kineflow.video.index import index_video

pytestmark = pytest.mark.slow

CLASSES = ("left", "right", "spin")
SHORT_SIDE, BOUND_PX = 48, 8.0
SOURCE = FlowSource(PRESETS["fast"].model_dump(), BOUND_PX, short_side=SHORT_SIDE)
CHANNELS = {"flow": 2, "warped_flow": 2, "rgb_flow": 3}


class Probe(nn.Module):
    """Logits that depend on every channel and step, and on where things are; remembers the shapes it saw.

    A logit is a sum of up to 45,056 terms, 1,400 in absolute values. In float32 its last 1e-4 would be the order of the
    sum, which some CPUs choose by the batch's size; in float64 the answer is the same however windows are batched.
    """

    def __init__(self, channels: int, frames: int, side: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(7)
        self.weights = nn.Parameter(torch.randn(3, channels, frames, side, side, generator=generator) / side)
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(x.shape))
        return torch.einsum("bcthw,kcthw->bk", x.double(), self.weights.double())


def card_of(modality: str, *, fields: int = 4, **changes: object) -> ModelCard:
    channels = 3 + 2 * fields if modality == "rgb_flow" else CHANNELS[modality]
    wanted = Preprocessing(modality, 4, 2, 36, 32, (128.0,) * channels, (16.0,) * channels)
    flow = dataclasses.replace(SOURCE, camera_motion="removed" if modality == "warped_flow" else "kept")
    return ModelCard("probe", "probe", {}, CLASSES, dataclasses.replace(wanted, **changes), flow=flow)


def network_of(card: ModelCard) -> Probe:
    return Probe(len(card.preprocessing.mean), card.preprocessing.frames, card.preprocessing.crop)


def video_of(path: Path, frames: int, *, size: tuple[int, int] = (96, 130)) -> Path:
    """A texture that moves right, larger than clips are stored, and with one key frame only."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 255, (size[0] // 8, size[1] // 8 + 20, 3)).astype(np.uint8)
    world = coarse.repeat(8, 0).repeat(8, 1)
    start = 2 * frames
    write_video(path, [world[:, start - 2 * t :][:, : size[1]] for t in range(frames)], fps=25, gop=1000)
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return video_of(tmp_path_factory.mktemp("video") / "long.mp4", 30)


@pytest.fixture(scope="module")
def short_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return video_of(tmp_path_factory.mktemp("video") / "short.mp4", 5)


def evaluated(video: Path, card: ModelCard, folder: Path, *, clips: int, crf: int) -> np.ndarray:
    """Probabilities [K] by the test protocol on the ingested clip and its extracted flow."""
    assert card.flow is not None
    index = index_video(video)
    form = store.StoredForm(short_side=card.flow.short_side)
    width, height = store.stored_size(index, form)
    whole = store.Part(0, index.frames)
    store.store_video(video, folder / "clips" / "a.mp4", index=index, part=whole, form=form)
    clip = Clip(
        "a", "a.mp4", CLASSES[0], "g", Split.TEST, index.frames, 25.0, width, height, 0, "0" * 64, Status.OK, "", "s"
    )  # fmt: skip
    clip_set = ClipSet(CLASSES, (clip,), str(folder / "clips"))
    how = {"tvl1": card.flow.params, "camera_motion": card.flow.camera_motion, "bound_px": card.flow.bound_px}
    extracted = extract_set(clip_set, clip_set.clips, folder / "flow", ExtractSettings(**how, crf=crf))
    flow_set = FlowSet(BOUND_PX, {entry.clip_id: entry for entry in extracted.entries}, str(folder / "flow"))
    scores = score_clips(
        network_of(card), card, clip_set, flow_set, Split.TEST, clips_per_video=clips, batch_size=3
    )  # fmt: skip
    return scores.probabilities()[0]


@pytest.mark.parametrize("segments", [0, 3])
@pytest.mark.parametrize("modality", CHANNELS)
def test_agrees_with_the_test_protocol(video: Path, modality: str, segments: int, tmp_path: Path) -> None:
    card = card_of(modality, segments=segments)
    network = network_of(card)
    predicted = predict_video(video, network, card, views=centre_views(5))
    assert network.shapes == [(1, len(card.preprocessing.mean), 4, 32, 32)] * 5
    assert 0.02 < predicted.max() < 0.999
    np.testing.assert_allclose(predicted, evaluated(video, card, tmp_path, clips=5, crf=0), atol=1e-6)


@pytest.mark.parametrize("changes", [{"fit": "squash"}, {"short": "closer"}, {"short": "wrap"}, {}], ids=str)
@pytest.mark.parametrize("modality", ["flow", "rgb_flow"])
def test_a_video_shorter_than_the_window(
    short_video: Path, modality: str, changes: dict[str, str], tmp_path: Path
) -> None:
    card = card_of(modality, **changes)
    predicted = predict_video(short_video, network_of(card), card, views=centre_views(3))
    np.testing.assert_allclose(predicted, evaluated(short_video, card, tmp_path, clips=3, crf=0), atol=1e-6)


def test_coded_flow_makes_a_small_difference(video: Path, tmp_path: Path) -> None:
    card = card_of("flow")
    predicted = predict_video(video, network_of(card), card, views=centre_views(5))
    difference = np.abs(predicted - evaluated(video, card, tmp_path, clips=5, crf=14)).max()
    assert 0 < difference < 0.01


def test_camera_motion_is_removed_where_it_was_in_training(video: Path) -> None:
    kept, removed = card_of("flow"), card_of("warped_flow")
    predictions = [predict_video(video, network_of(card), card, views=centre_views(1)) for card in (kept, removed)]
    assert np.abs(predictions[0] - predictions[1]).max() > 0.01


def test_bytes_give_what_the_file_gives(video: Path) -> None:
    card = card_of("rgb_flow")
    predictions = [
        predict_video(given, network_of(card), card, views=centre_views(2)) for given in (video, video.read_bytes())
    ]
    np.testing.assert_array_equal(*predictions)


def test_memory_does_not_grow_with_windows(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kineflow.flow import flow_of_video
    from kineflow.serving import predict

    read: list[int] = []
    for module in (predict, flow_of_video):

        def counted(*arguments, original=module.read_frames, **keywords):
            frames = original(*arguments, **keywords)
            read.append(len(frames))
            return frames

        monkeypatch.setattr(module, "read_frames", counted)
    card = card_of("rgb_flow")
    predict_video(video, network_of(card), card, views=centre_views(25))
    assert max(read) <= 12  # 4 time steps 2 apart, with 4 fields around each


def test_more_flow_than_is_allowed_is_refused_before_any_is_computed(video: Path) -> None:
    card = card_of("flow")
    network = network_of(card)
    fields, pixels = 4 * 2, 48 * 64
    with pytest.raises(KineflowError, match=f"{fields * pixels} pixels of flow to compute, at 64x48"):
        predict_video(video, network, card, views=centre_views(2), max_flow_pixels=fields * pixels - 1)
    assert network.shapes == []
    predict_video(video, network, card, views=centre_views(2), max_flow_pixels=fields * pixels)


@pytest.mark.parametrize("modality", CHANNELS)
def test_a_network_that_does_not_know_its_flow_is_refused(video: Path, modality: str) -> None:
    card = dataclasses.replace(card_of(modality), flow=None)
    with pytest.raises(KineflowError, match=f"takes {modality}, and its card does not say how"):
        predict_video(video, network_of(card), card)


def test_a_video_of_one_frame_is_refused(tmp_path: Path) -> None:
    card = card_of("flow")
    with pytest.raises(KineflowError, match=r"no motion to measure \(frames: 1, of 130x96 px\)"):
        predict_video(video_of(tmp_path / "one.mp4", 1), network_of(card), card)


def test_nothing_is_left_behind_when_the_network_fails(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    class Broken(Probe):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("broken")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(KineflowError, match="broken"):
        predict_video(video.read_bytes(), Broken(2, 4, 32), card_of("flow"))
    assert list(tmp_path.iterdir()) == []


MODELS = {
    "s3d": (card_of("flow", frames=16, stride_frames=1), {"width": 0.0625}),
    "tsn": (
        card_of("warped_flow", frames=5, stride_frames=1, segments=3),
        {"backbone": "resnet50", "width": 0.125, "snippet_frames": 5},
    ),
    "videolstm": (
        card_of("rgb_flow", fields=1, short="closer", crop=64, short_side=64),
        {"backbone": "vgg16", "width": 0.125, "grid": 2, "hidden": 32},
    ),
    "st_resnet": (card_of("rgb_flow", fields=10, fit="squash", short_side=64, crop=64), {"width": 0.125}),
}


@pytest.mark.parametrize("architecture", MODELS)
def test_bundles_predict_on_a_file(video: Path, architecture: str, tmp_path: Path) -> None:
    like, hyper = MODELS[architecture]
    card = dataclasses.replace(like, architecture=architecture, hyperparameters=hyper)
    channels = len(card.preprocessing.mean)
    save_bundle(tmp_path / "b", create_model(architecture, num_classes=3, in_channels=channels, **hyper), card)
    network, loaded = load_bundle(tmp_path / "b")
    assert loaded.flow == card.flow
    assert predict_video(video, network, loaded, views=centre_views(3)).sum() == pytest.approx(1)
