import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from kineflow.evaluation.view_protocol import centre_views
from kineflow.models.card import ModelCard
from kineflow.serving.predict import predict_video
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.sampling import ClipSpec, uniform_clips
from kineflow.storage.errors import KineflowError
from kineflow.video.decode import read_frames
from kineflow.video.encode import write_video
from tests.centre_crop import centre_crop

WANTED = Preprocessing("rgb", 4, 2, 36, 32, (128.0,) * 3, (64.0,) * 3)
CARD = ModelCard("student", "tiny", {}, ("dark", "light"), WANTED)


class Brightness(torch.nn.Module):
    """Scores [B, 2]: how dark and how light a clip [B, C, T, H, W] is; remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(4.0))
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x)
        light = self.gain * x.mean(dim=(1, 2, 3, 4))
        return torch.stack([-light, light], dim=1)


def clip_of(path: Path, levels: list[int]) -> Path:
    write_video(path, [np.full((48, 64, 3), level, np.uint8) for level in levels], fps=25, crf=4)
    return path


@pytest.fixture
def brightening(tmp_path: Path) -> Path:
    return clip_of(tmp_path / "clip.mp4", list(range(40, 220, 6)))


def test_averages_the_softmax_over_windows_spread_over_the_video(brightening: Path) -> None:
    network = Brightness()
    probabilities = predict_video(brightening, network, CARD, views=centre_views(3))

    frames = read_frames(brightening)
    windows = uniform_clips(len(frames) - 1, ClipSpec(4, 2), 3)
    expected = [centre_crop(frames[window], WANTED) for window in windows]
    assert [tuple(clip.shape) for clip in network.seen] == [(1, 3, 4, 32, 32)] * 3
    for seen, wanted in zip(network.seen, expected, strict=True):
        torch.testing.assert_close(seen[0], wanted)
    answers = Brightness()(torch.stack(expected)).softmax(dim=1)
    assert answers[0, 0] > 0.9
    assert answers[2, 1] > 0.9
    np.testing.assert_allclose(probabilities, answers.mean(dim=0).detach(), rtol=1e-5)
    assert probabilities.dtype == np.float32
    assert probabilities.sum() == pytest.approx(1)


def test_colours_arrive_in_the_order_that_the_network_takes(tmp_path: Path) -> None:
    write_video(tmp_path / "red.mp4", [np.full((48, 64, 3), (230, 30, 30), np.uint8)] * 8, fps=25, crf=4)
    for order, brightest in (("rgb", 0), ("bgr", 2)):
        network = Brightness()
        wanted = dataclasses.replace(WANTED, channel_order=order)
        predict_video(
            tmp_path / "red.mp4", network, dataclasses.replace(CARD, preprocessing=wanted), views=centre_views(1)
        )
        assert network.seen[0].mean(dim=(0, 2, 3, 4)).argmax() == brightest


def test_bytes_give_what_the_file_gives(brightening: Path) -> None:
    from_bytes = predict_video(brightening.read_bytes(), Brightness(), CARD)
    np.testing.assert_array_equal(from_bytes, predict_video(brightening, Brightness(), CARD))


def test_a_video_of_one_frame_is_repeated(tmp_path: Path) -> None:
    probabilities = predict_video(clip_of(tmp_path / "one.mp4", [230]), Brightness(), CARD)
    assert probabilities[1] > 0.99


def test_agrees_with_the_test_protocol(brightening: Path) -> None:
    from kineflow.evaluation.protocol import score_clips
    from kineflow.sets.clip_set import Clip, ClipSet
    from kineflow.spec.split import Split
    from kineflow.spec.status import Status

    frames = len(read_frames(brightening))
    clip = Clip(
        "clip", brightening.name, "dark", "g", Split.TEST, frames, 25.0, 64, 48, 0, "0" * 64, Status.OK, "", "s"
    )  # fmt: skip
    clip_set = ClipSet(CARD.classes, (clip,), str(brightening.parent))
    scores = score_clips(Brightness(), CARD, clip_set, None, Split.TEST, clips_per_video=5, batch_size=2)
    predicted = predict_video(brightening, Brightness(), CARD, views=centre_views(5))
    np.testing.assert_allclose(predicted, np.exp(scores.logits[0]), rtol=1e-5)


@pytest.mark.parametrize("content", [b"", b"a text, not a video"])
def test_what_is_no_video_is_refused(content: bytes) -> None:
    with pytest.raises(KineflowError, match="not readable as a video"):
        predict_video(content, Brightness(), CARD)


def test_a_video_that_breaks_off_is_refused(shared_data: Path) -> None:
    video = (shared_data / "clips" / "v_SoccerJuggling_g23_c01.avi").read_bytes()
    with pytest.raises(KineflowError, match="of its header are there"):
        predict_video(video[: len(video) // 2], Brightness(), CARD)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match=r"gone\.mp4"):
        predict_video(tmp_path / "gone.mp4", Brightness(), CARD)


@pytest.mark.parametrize("bound", [{"max_frames": 20}, {"max_pixels": 1000}])
def test_bounds_are_kept(brightening: Path, bound: dict[str, int]) -> None:
    network = Brightness()
    with pytest.raises(KineflowError):
        predict_video(brightening, network, CARD, **bound)
    assert network.seen == []


def test_a_short_video_is_looked_at_once(tmp_path: Path) -> None:
    network = Brightness()
    path = clip_of(tmp_path / "short.mp4", list(range(40, 100, 10)))  # 5 time steps, fewer than a window spans
    probabilities = predict_video(path, network, CARD, views=centre_views(10))
    assert len(network.seen) == 1
    np.testing.assert_allclose(probabilities, network(network.seen[0]).softmax(dim=1)[0].detach(), rtol=1e-5)


@pytest.mark.parametrize(("short", "last"), [("repeat_last", [0, 2, 4, 4]), ("closer", [0, 1, 2, 4])])
def test_short_videos_are_filled_up_as_in_training(tmp_path: Path, short: str, last: list[int]) -> None:
    levels = [40, 70, 100, 130, 160, 190]
    path, network = clip_of(tmp_path / "short.mp4", levels), Brightness()
    card = dataclasses.replace(CARD, preprocessing=dataclasses.replace(WANTED, short=short))
    predict_video(path, network, card, views=centre_views(1))
    seen = network.seen[0].mean(dim=(0, 1, 3, 4)) * 64 + 128
    np.testing.assert_allclose(seen, [levels[moment] for moment in last], atol=2)


def test_real_clips_get_probabilities(shared_data: Path) -> None:
    for name in ("v_SoccerJuggling_g23_c01.avi", "TrumanShow_wave_f_nm_np1_fr_med_26.avi"):
        probabilities = predict_video(shared_data / "clips" / name, Brightness(), CARD, views=centre_views(2))
        assert probabilities.sum() == pytest.approx(1)


@pytest.mark.parametrize("modality", ["rgb", "rgb_difference"])
def test_scores_of_snippets_are_averaged_before_the_softmax(brightening: Path, modality: str) -> None:
    from kineflow.evaluation.protocol import score_clips
    from kineflow.sets.clip_set import Clip, ClipSet
    from kineflow.spec.split import Split
    from kineflow.spec.status import Status

    card = dataclasses.replace(CARD, preprocessing=dataclasses.replace(WANTED, modality=modality, segments=3))
    frames = len(read_frames(brightening))
    clip = Clip(
        "clip", brightening.name, "dark", "g", Split.TEST, frames, 25.0, 64, 48, 0, "0" * 64, Status.OK, "", "s"
    )  # fmt: skip
    clip_set = ClipSet(CARD.classes, (clip,), str(brightening.parent))
    scores = score_clips(Brightness(), card, clip_set, None, Split.TEST, clips_per_video=5, batch_size=2)
    network = Brightness()
    predicted = predict_video(brightening, network, card, views=centre_views(5))
    np.testing.assert_allclose(predicted, scores.probabilities()[0], rtol=1e-4)
    assert {tuple(seen.shape) for seen in network.seen} == {(1, 3, 4, 32, 32)}
    light = torch.stack([4 * seen.mean() for seen in network.seen]).mean()
    assert predicted[1] == pytest.approx(float(torch.sigmoid(2 * light)), rel=1e-4)


@pytest.mark.slow
def test_a_tsn_bundle_predicts_on_a_file(brightening: Path, tmp_path: Path) -> None:
    from kineflow.models.bundle import load_bundle, save_bundle
    from kineflow.models.registry import create_model

    for modality, length in (("rgb", 1), ("rgb_difference", 5)):
        hyper = {"backbone": "resnet50", "width": 0.125, "snippet_frames": length}
        wanted = dataclasses.replace(WANTED, modality=modality, frames=length, stride_frames=1, segments=3)
        save_bundle(
            tmp_path / modality,
            create_model("tsn", num_classes=2, **hyper),
            ModelCard(modality, "tsn", hyper, ("dark", "light"), wanted),
        )
        network, card = load_bundle(tmp_path / modality)
        assert predict_video(brightening, network, card).sum() == pytest.approx(1)


@pytest.mark.parametrize(("clips", "fps"), [(10, 0.0), (3, 0.0), (10, 60.0)])
def test_to_seek_each_window_or_to_decode_once_makes_no_difference(
    brightening: Path, monkeypatch: pytest.MonkeyPatch, clips: int, fps: float
) -> None:
    from kineflow.serving import predict

    card = dataclasses.replace(CARD, preprocessing=dataclasses.replace(WANTED, fps=fps))
    answers = []
    for forward in (False, True):
        monkeypatch.setattr(predict, "_is_cheaper_forward", lambda *_, so=forward: so)
        answers.append(predict_video(brightening, Brightness(), card, views=centre_views(clips)))
    np.testing.assert_array_equal(*answers)


class TestBounds:
    def test_a_model_without_classes(self, brightening: Path) -> None:
        with pytest.raises(KineflowError, match="'student' has no classes"):
            predict_video(brightening, Brightness(), dataclasses.replace(CARD, classes=()))

    def test_an_answer_that_is_no_number(self, brightening: Path) -> None:
        network = Brightness()
        torch.nn.init.constant_(network.gain, float("nan"))
        with pytest.raises(KineflowError, match="not a number"):
            predict_video(brightening, network, CARD)

    def test_large_pictures_are_resized_as_they_are_decoded(
        self, brightening: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from kineflow.serving import predict

        monkeypatch.setattr(predict, "_is_cheaper_forward", lambda *_: False)
        expected = predict_video(brightening, Brightness(), CARD, views=centre_views(3))
        sizes = []

        def read(*arguments: object, **options: object) -> np.ndarray:
            sizes.append(options["size"])
            return read_frames(*arguments, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(predict, "read_frames", read)
        predict_video(brightening, Brightness(), CARD, views=centre_views(3))
        monkeypatch.setattr(predict, "_MOST_DECODED_PIXELS", 4 * 64 * 48 - 1)  # of a window of this video
        np.testing.assert_allclose(
            predict_video(brightening, Brightness(), CARD, views=centre_views(3)), expected, rtol=0.05
        )
        assert sizes == [None] * 3 + [(48, 36)] * 3

    def test_a_picture_that_would_become_far_larger(self, tmp_path: Path) -> None:
        write_video(tmp_path / "wide.mp4", [np.zeros((8, 2048, 3), np.uint8)] * 5, fps=25)
        card = dataclasses.replace(CARD, preprocessing=dataclasses.replace(WANTED, short_side=256))
        with pytest.raises(KineflowError, match="2048x8 px become 65536x256"):
            predict_video(tmp_path / "wide.mp4", Brightness(), card)

    def test_a_window_that_is_too_much_to_hold(self, brightening: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from kineflow.serving import predict

        monkeypatch.setattr(predict, "_MOST_WINDOW_PIXELS", 4 * 48 * 36 - 1)
        with pytest.raises(KineflowError, match="4 frames of 64x48 px become 48x36 px, which is too much to hold"):
            predict_video(brightening, Brightness(), CARD)

    def test_frames_and_pixels_are_bounded_together(self, brightening: Path) -> None:
        frames = len(read_frames(brightening))
        predict_video(brightening, Brightness(), CARD, max_video_pixels=frames * 64 * 48)
        with pytest.raises(KineflowError, match=f"more than {frames - 1} frames of 64x48 px"):
            predict_video(brightening, Brightness(), CARD, max_video_pixels=frames * 64 * 48 - 1)

    @pytest.mark.parametrize(
        ("network", "message"),
        [
            (torch.nn.Conv3d(5, 2, 3), r"cannot take clips of \[3, 4, 32, 32\]"),
            (torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 32 * 32, 3)), "scores, for 2 classes"),
        ],
    )
    def test_a_network_that_is_not_the_cards(self, brightening: Path, network: torch.nn.Module, message: str) -> None:
        with pytest.raises(KineflowError, match=message) as caught:
            predict_video(brightening, network, CARD)
        assert caught.value.where == "model 'student'"
