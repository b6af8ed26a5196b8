"""A sliding window: on a clip of one window it says what ``predict`` and the test protocol say."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from kineflow.models.card import ModelCard
from kineflow.serving.predict import predict_video
from kineflow.serving.timeline import timeline
from kineflow.serving.windows import sliding_windows, window_starts
from kineflow.spec.flow_source import FlowSource
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.sampling import ClipSpec
from kineflow.storage.errors import KineflowError
from kineflow.video.decode import read_frames
from kineflow.video.encode import write_video
from kineflow.video.forward import TimedFrame

WANTED = Preprocessing("rgb", 4, 2, 36, 32, (128.0,) * 3, (64.0,) * 3)
SPAN = 7
CLASSES = ("dark", "light", "warm")


class Linear(torch.nn.Module):
    """Any weighting of a clip, so that every pixel and the order of the frames counts."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(0.05))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = torch.rand((len(CLASSES), x[0].numel()), generator=torch.Generator().manual_seed(0)) - 0.5
        return self.gain * x.flatten(1) @ weights.T


def card_of(**changes: object) -> ModelCard:
    return ModelCard("student", "tiny", {}, CLASSES, dataclasses.replace(WANTED, **changes))  # type: ignore[arg-type]


def clip_of(path: Path, frames: int, fps: float = 25.0) -> Path:
    rng = np.random.default_rng(0)
    images = (rng.integers(0, 255, (6, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1) for _ in range(frames))
    write_video(path, images, fps=fps, crf=10)
    return path


def evaluated(path: Path, card: ModelCard, network: torch.nn.Module) -> np.ndarray:
    from kineflow.evaluation.protocol import score_clips
    from kineflow.sets.clip_set import Clip, ClipSet
    from kineflow.spec.split import Split
    from kineflow.spec.status import Status

    frames = len(read_frames(path))
    clip = Clip(
        "clip", path.name, card.classes[0], "g", Split.TEST, frames, 25.0, 64, 48, 0, "0" * 64, Status.OK, "", "s"
    )
    clip_set = ClipSet(card.classes, (clip,), str(path.parent))
    scores = score_clips(network, card, clip_set, None, Split.TEST, clips_per_video=10, batch_size=2)
    return scores.probabilities()[0]


@pytest.mark.parametrize(
    ("changes", "frames"),
    [
        ({}, SPAN + 1),
        ({"modality": "rgb_difference"}, SPAN + 1),
        ({"fit": "squash"}, SPAN + 1),
        ({"segments": 3}, SPAN + 1),
        ({"channel_order": "bgr"}, SPAN + 1),
        ({"fps": 25.0}, SPAN + 1),
        ({}, 3),
        ({"short": "wrap"}, 4),
        ({"short": "closer"}, 5),
        ({}, 1),
    ],
)
def test_on_a_clip_of_one_window_timeline_predict_and_evaluation_agree(
    changes: dict[str, object], frames: int, tmp_path: Path
) -> None:
    path, card = clip_of(tmp_path / "clip.mp4", frames), card_of(**changes)
    [window] = timeline(path, Linear(), card)
    np.testing.assert_allclose(window.probabilities, predict_video(path, Linear(), card), atol=1e-6, rtol=0)
    np.testing.assert_allclose(window.probabilities, evaluated(path, card, Linear()), atol=1e-6, rtol=0)
    assert window.start_sec == 0
    assert window.probabilities.max() < 0.95, "the network is not sure, so that a difference would show"


@pytest.mark.parametrize("fps", [10.0, 12.5, 30.0])
def test_at_another_rate_they_agree_too(fps: float, tmp_path: Path) -> None:
    card = card_of(fps=fps)
    path = clip_of(tmp_path / "clip.mp4", round((SPAN + 1) * 25 / fps))
    [window] = timeline(path, Linear(), card)
    np.testing.assert_allclose(window.probabilities, predict_video(path, Linear(), card), atol=1e-6, rtol=0)


def test_each_window_of_a_long_video_is_that_part_of_it(tmp_path: Path) -> None:
    path, card = clip_of(tmp_path / "clip.mp4", 30), card_of()
    windows = list(timeline(path, Linear(), card, step_sec=0.2))
    starts = window_starts(30, ClipSpec(4, 2), 5)
    assert starts == [0, 5, 10, 15, 20, 22]
    assert [round(window.start_sec * 25) for window in windows] == starts
    assert [round(window.end_sec * 25) for window in windows] == [start + SPAN for start in starts]
    images = read_frames(path)
    for window, start in zip(windows, starts, strict=True):
        part = (TimedFrame(0.0, image) for image in images[start : start + SPAN + 1])
        [alone] = sliding_windows(part, WANTED, step_frames=1, last_sec=0.04)
        expected = Linear()(alone.views.inputs()).softmax(dim=1)[0]
        np.testing.assert_allclose(window.probabilities, expected.detach(), atol=1e-6)


def test_windows_further_apart_than_they_are_long(tmp_path: Path) -> None:
    windows = list(timeline(clip_of(tmp_path / "clip.mp4", 40), Linear(), card_of(), step_sec=0.6))
    assert [round(window.start_sec * 25) for window in windows] == window_starts(40, ClipSpec(4, 2), 15)


def test_no_more_is_held_than_a_window_spans() -> None:
    import weakref

    class Image(np.ndarray):
        pass

    alive: list[weakref.ref[np.ndarray]] = []

    def frames() -> object:
        for number in range(60):
            image = np.full((36, 40, 3), number, np.uint8).view(Image)
            alive.append(weakref.ref(image))
            yield TimedFrame(number / 25, image)

    most = 0
    for _ in sliding_windows(frames(), WANTED, step_frames=3, last_sec=0.04):  # type: ignore[arg-type]
        most = max(most, sum(image() is not None for image in alive))
    assert 0 < most <= SPAN + 3


@pytest.mark.slow
def test_flow_is_that_of_the_whole_video(tmp_path: Path) -> None:
    source = FlowSource({"outer_iterations": 1, "inner_iterations": 4, "warps": 1}, bound_px=8.0, short_side=48)
    wanted = Preprocessing("flow", 4, 2, 36, 32, (128.0,) * 2, (64.0,) * 2)
    card = ModelCard("teacher", "tiny", {}, CLASSES, wanted, flow=source)
    path = clip_of(tmp_path / "clip.mp4", SPAN + 1)
    [window] = timeline(path, Linear(), card)
    np.testing.assert_allclose(window.probabilities, predict_video(path, Linear(), card), atol=1e-6)
    windows = list(timeline(clip_of(tmp_path / "long.mp4", 16), Linear(), card, step_sec=0.2))
    assert [round(each.start_sec * 25) for each in windows] == [0, 5, 8]


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(b"no video")
    with pytest.raises(KineflowError, match="not readable as a video"):
        list(timeline(path, Linear(), card_of()))


def test_a_clip_shorter_than_a_window_where_that_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match="spans 7 frames"):
        list(timeline(clip_of(tmp_path / "clip.mp4", 5), Linear(), card_of(short="error")))


@pytest.mark.slow
def test_a_trained_bundle_says_the_same_three_ways(bundle: Path, tmp_path: Path) -> None:
    from kineflow.models.bundle import load_bundle

    network, card = load_bundle(bundle)
    path = clip_of(tmp_path / "clip.mp4", card.preprocessing.frames + 1)
    [window] = timeline(path, network, card)
    np.testing.assert_allclose(window.probabilities, predict_video(path, network, card), atol=1e-6, rtol=0)
    scores = evaluated(path, card, network)
    np.testing.assert_allclose(window.probabilities, scores, atol=1e-6, rtol=0)
