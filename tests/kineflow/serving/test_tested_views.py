"""Whatever protocol a model was tested by, `predict` says what the evaluation has stored; a version keeps it."""

import base64
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.exceptions import MlflowException

from kineflow.evaluation.protocol import score_clips
from kineflow.evaluation.scores import Scores
from kineflow.evaluation.view_protocol import ONE_VIEW, ViewProtocol, centre_views, read_views
from kineflow.models.bundle import load_bundle
from kineflow.models.card import ModelCard
from kineflow.models.registry import create_model
from kineflow.registry.measured import Measured, read_evaluation
from kineflow.registry.registration import register_student
from kineflow.serving.predict import predict_video
from kineflow.serving.served_model import load_video_model
from kineflow.serving.tested import TESTED_FILE, AsTested, read_tested, words_of
from kineflow.serving.timeline import timeline
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.video.encode import write_video
from pipelines.predict import loaded, predict_videos, top_classes

CLASSES = ("left", "right", "spin")
WANTED = Preprocessing("rgb", 4, 2, 36, 32, (128.0,) * 3, (64.0,) * 3)
LENGTHS = (30, 9, 3)
PROTOCOLS = {
    "even": ViewProtocol(4),
    "one view": ONE_VIEW,
    "spread": ViewProtocol(3, "spread"),
    "covering": ViewProtocol(8, "covering"),
    "five crops": ViewProtocol(2, crops=5),
    "ten crops": ViewProtocol(3, crops=10),
    "mirrored": ViewProtocol(3, crops=2),
    "whole frames": ViewProtocol(2, crops="whole"),
    "votes": ViewProtocol(5, crops=10, view_aggregation="majority"),
}


class Pooled(torch.nn.Module):
    """Any weighting of a coarse grid of a clip: place and order count, and the picture's size does not matter."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(0.4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        grid = torch.nn.functional.adaptive_avg_pool3d(x, (4, 4, 4)).flatten(1)
        weights = torch.rand((len(CLASSES), grid.shape[1]), generator=torch.Generator().manual_seed(0)) - 0.5
        return self.gain * grid @ weights.T


def card_of(**changes: Any) -> ModelCard:
    return ModelCard("student", "s3d", {"width": 0.0625}, CLASSES, dataclasses.replace(WANTED, **changes))


@pytest.fixture(scope="module")
def clip_set(tmp_path_factory: pytest.TempPathFactory) -> ClipSet:
    folder, clips = tmp_path_factory.mktemp("clips"), []
    for number, frames in enumerate(LENGTHS):
        rng = np.random.default_rng(number)
        images = (rng.integers(0, 255, (6, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1) for _ in range(frames))
        write_video(folder / f"{number}.mp4", images, fps=25.0, crf=10)
        clips.append(
            Clip(f"c{number}", f"{number}.mp4", CLASSES[number], f"g{number}", Split.TEST, frames, 25.0, 64, 48, 0,
                 f"{number:064x}", Status.OK, "", "s")
        )  # fmt: skip
    return ClipSet(CLASSES, tuple(clips), str(folder))


def stored(network: torch.nn.Module, card: ModelCard, clip_set: ClipSet, views: ViewProtocol) -> Scores:
    return score_clips(
        network, card, clip_set, None, Split.TEST, clips_per_video=views.clips_per_video, crops=views.crops,
        layout=views.windows, view_aggregation=views.view_aggregation, batch_size=4,
    )  # fmt: skip


def assert_said_alike(network: torch.nn.Module, card: ModelCard, clip_set: ClipSet, views: ViewProtocol) -> None:
    scores = stored(network, card, clip_set, views).probabilities()
    for clip, expected in zip(clip_set.clips, scores, strict=True):
        predicted = predict_video(clip_set.locate(clip), network, card, views=views)
        np.testing.assert_allclose(predicted, expected, atol=1e-6, rtol=0)
    [window] = timeline(clip_set.locate(clip_set.clips[-1]), network, card, views=views)
    np.testing.assert_allclose(window.probabilities, scores[-1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("segments", [0, 3], ids=["of windows", "of snippets"])
@pytest.mark.parametrize("views", PROTOCOLS.values(), ids=PROTOCOLS.keys())
def test_each_protocol(views: ViewProtocol, segments: int, clip_set: ClipSet) -> None:
    assert_said_alike(Pooled(), card_of(segments=segments), clip_set, views)


@pytest.mark.parametrize("changes", [{"fit": "squash"}, {"short": "closer"}, {"modality": "rgb_difference"}], ids=str)
def test_other_inputs_in_all_their_crops(changes: dict[str, Any], clip_set: ClipSet) -> None:
    assert_said_alike(Pooled(), card_of(**changes), clip_set, PROTOCOLS["ten crops"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "views", [ViewProtocol(1, "dense"), ViewProtocol(1, "dense", 2, "majority"), ViewProtocol(5, "spread", 5)], ids=str
)
def test_a_network_over_frames_sees_each_frame_once(
    views: ViewProtocol, clip_set: ClipSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network: Any = create_model(
        "alstm", num_classes=3, in_channels=3, backbone="resnet50", width=0.125, output_stride=8, cells=16, hidden=8,
        head_width=8, layers=1,
    ).eval()  # fmt: skip
    assert_said_alike(network, card_of(), clip_set, views)
    seen: list[int] = []
    features = network.frame_features
    monkeypatch.setattr(network, "frame_features", lambda clips: seen.append(clips.shape[2]) or features(clips))
    predict_video(clip_set.locate(clip_set.clips[0]), network, card_of(), views=ViewProtocol(1, "dense"))
    assert sum(seen) == LENGTHS[0] - 1


def test_a_protocol_is_read_as_it_was_written() -> None:
    for views in PROTOCOLS.values():
        assert read_views(json.loads(json.dumps(views.plain()))) == views
    for wrong in ({"clips_per_video": 0}, {"clips_per_video": 4, "crops": 3}, {"clips_per_video": 4, "more": 1}, {}):
        with pytest.raises(ValueError):
            read_views(wrong)


def test_what_one_view_costs_is_said() -> None:
    tested = AsTested(ViewProtocol(10), 320, 0.622, 0.581)
    assert words_of(tested) == (
        "answers as it was tested: 10 windows (even), 1 crop(s) each, average of their scores; top-1 62.2% on 320 "
        "clips, and 58.1% with one of 10 views (clips = 1)"
    )
    assert "with one view (clips = 1)" in words_of(AsTested(ViewProtocol(8, "covering"), 320, 0.622, 0.581))
    assert "clips = 1" not in words_of(AsTested(ONE_VIEW, 320, 0.622, 0.622))
    assert words_of(tested, 1).startswith("answers with one window, its centre: top-1 58.1%; as it was tested, with 10")
    assert "answers with 2 windows, the centre of each, which nobody has measured" in words_of(tested, 2)
    assert words_of(None).endswith("it answers with 10 windows, the centre of each")


def test_a_damaged_record_is_told(tmp_path: Path) -> None:
    path = tmp_path / TESTED_FILE
    assert read_tested(path) is None
    tested = AsTested(ViewProtocol(2, crops="whole"), 3, 0.5)
    tested.save(path)
    assert read_tested(path) == tested
    for text in ("{", "[]", json.dumps({"format": 2}), path.read_text().replace('"even"', '"odd"')):
        path.write_text(text)
        with pytest.raises(KineflowError, match="does not say how the model was tested"):
            read_tested(path)


@pytest.mark.slow
class TestRegistered:
    """From the evaluate step to the registry, and out again by each door."""

    VIEWS = ViewProtocol(3, "spread", 2)

    @pytest.fixture
    def scores(self, clip_set: ClipSet, bundle: Path, project: Path) -> Scores:
        from components.evaluate import evaluate
        from kineflow.evaluation.settings import EvaluateSettings

        clip_set.save(project / "clips")
        settings = EvaluateSettings(clips_per_video=3, windows="spread", crops=2, baselines=False)
        evaluate(
            clips=project / "clips", models=[bundle], params=settings, evaluation=project / "evaluation",
            report=project / "report.html",
        )  # fmt: skip
        network, card = load_bundle(bundle)
        measured = read_evaluation(project / "evaluation", card.name)
        assert measured.views == self.VIEWS
        one_view = stored(network, card, clip_set, ONE_VIEW)
        right = (one_view.logits.argmax(axis=1) == one_view.labels).mean()
        assert measured.metrics["top1_one_view"] == pytest.approx(right)
        register_student(bundle, name="demo", evaluation=measured)
        return Scores.load(project / "evaluation" / "scores" / f"{card.name}.parquet")

    def test_it_answers_as_it_was_tested(
        self, scores: Scores, clip_set: ClipSet, bundle: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        videos = [clip_set.locate(clip) for clip in clip_set.clips]
        with caplog.at_level("INFO", logger="kineflow"):
            tops = [dict(top_classes(video, "models:/demo/1", 3)) for video in videos]
            predict_videos([str(videos[0])], "models:/demo/1", top=1, csv_file=None, json_file=None, say=lambda _: None)
        [told] = [record for record in caplog.records if "3 windows (spread), 2 crop(s) each" in record.message]
        assert "with one of 6 views (clips = 1)" in told.message
        model = load_video_model("models:/demo/1")
        table = pd.DataFrame({"video": [base64.b64encode(video.read_bytes()).decode() for video in videos]})
        served = model.unwrap_python_model().predict(None, table)["probabilities"]
        for top, row, expected in zip(tops, served, scores.probabilities(), strict=True):
            for answer in (top, row):
                np.testing.assert_allclose([answer[name] for name in CLASSES], expected, atol=1e-6, rtol=0)

    def test_a_request_may_ask_for_fewer_windows_and_for_no_more(
        self, scores: Scores, clip_set: ClipSet, bundle: Path
    ) -> None:
        video = clip_set.locate(clip_set.clips[0])
        model = load_video_model("models:/demo/1")
        table = pd.DataFrame({"video": [video.read_bytes()]})
        [cheap] = model.predict(table, params={"clips": 1})["probabilities"]
        expected = predict_video(video, *load_bundle(bundle), views=ONE_VIEW)
        np.testing.assert_allclose(list(cheap.values()), expected, atol=1e-6, rtol=0)
        assert not np.allclose(expected, scores.probabilities()[0], atol=1e-6)
        with pytest.raises(MlflowException, match="clips is 4; the model sees 3 windows at most"):
            model.predict(table, params={"clips": 4})
        with pytest.raises(MlflowException, match="clips must be at least 0"):
            model.predict(table, params={"clips": -1})

    def test_a_changed_protocol_in_the_store_is_refused(self, scores: Scores, project: Path) -> None:
        [path] = (project / "mlartifacts").rglob(TESTED_FILE)
        path.write_text(path.read_text().replace('"spread"', '"even"'))
        with pytest.raises(KineflowError, match=r"its files are not those that were registered: protocol\.sha256"):
            loaded("models:/demo/1")

    def test_a_version_of_an_earlier_release_gets_it_when_it_is_registered_again(
        self, project: Path, bundle: Path
    ) -> None:
        shown = Measured({"top1": 0.5}, "a" * 64, 12)
        register_student(bundle, name="old", evaluation=shown)
        old = loaded("models:/old/1")
        assert old.views == centre_views(10)
        assert "nobody has recorded how this model was tested" in old.words
        register_student(bundle, name="old", evaluation=dataclasses.replace(shown, views=self.VIEWS))
        assert loaded("models:/old/1").views == self.VIEWS
        assert loaded("models:/old/1", 2).views == centre_views(2)
