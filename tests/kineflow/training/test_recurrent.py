"""Training on stored features alone: it learns, repeats itself, and says what is missing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from kineflow.models.card import ModelCard
from kineflow.models.registry import create_backbone
from kineflow.sets.clip_set import ClipSet
from kineflow.sets.feature_set import FeatureEntry, FeatureSet, FeatureSource, write_features
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.tracking.tracker import NULL_TRACKER
from kineflow.training.jobs import Trained
from kineflow.training.recurrent import train_sequence_network
from kineflow.training.recurrent_settings import RecurrentSettings
from kineflow.training.streams import Stream

pytestmark = pytest.mark.slow

MOMENTS = 5
SHAPE = (128, 2, 2)
SETTINGS = {
    "network": {"name": "alstm", "layers": 1, "hidden": 8, "head_width": 8}, "frames": 4, "steps": 12,
    "validate_every_steps": 4, "batch_size": 4, "cache_mb": 1,
    "optimiser": {"name": "adam", "learning_rate": 0.02, "weight_decay": 0.0},
}  # fmt: skip


@pytest.fixture
def clip_set(tiny_data) -> ClipSet:
    return ClipSet.load(tiny_data.clips)


@pytest.fixture
def stream(clip_set: ClipSet, tmp_path: Path) -> Stream:
    """Features in which the classes differ."""
    torch.manual_seed(0)
    entries = {}
    for clip in clip_set.usable(Split.TRAIN, Split.VAL):
        values = torch.rand(MOMENTS, *SHAPE)
        values[:, : SHAPE[0] // 2] += clip_set.label_index(clip)
        write_features(tmp_path / "media" / f"{clip.clip_id}.safetensors", values)
        entries[clip.clip_id] = FeatureEntry(clip.clip_id, f"{clip.clip_id}.safetensors", MOMENTS, Status.OK, "")
    source = FeatureSource("0" * 64, "b", "map", Preprocessing("rgb", 1, 1, 16, 16, (0.0,) * 3, (1.0,) * 3))
    hyperparameters = {"backbone": "googlenet", "width": 0.125, "output_stride": 8}
    card = ModelCard("b", "tsn", hyperparameters, (), source.preprocessing)
    network = create_backbone("googlenet", width=0.125, output_stride=8)
    return Stream(FeatureSet(source, SHAPE, entries, str(tmp_path / "media")), network, card)


def train(clip_set: ClipSet, stream: Stream, work: Path, *, tracker=NULL_TRACKER, **changes) -> Trained:
    settings = RecurrentSettings(**{**SETTINGS, **changes})
    return train_sequence_network(clip_set, [stream], settings, name="made", seed=3, work=work, tracker=tracker)


@pytest.mark.parametrize("windows", ["random", "every"])
def test_it_learns_what_the_features_tell(clip_set: ClipSet, stream: Stream, tmp_path: Path, windows: str) -> None:
    trained = train(clip_set, stream, tmp_path / "work", windows=windows)
    assert trained.fitted.metrics["val/top1"] == 1.0
    assert trained.card.metrics["val/top1"] == 1.0
    assert trained.card.classes == clip_set.classes
    assert trained.summary.startswith("best after")
    with torch.no_grad():
        assert trained.network.eval()(torch.rand(1, 3, 4, 16, 16)).shape == (1, 2)


def test_backbones_do_not_change(clip_set: ClipSet, stream: Stream, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in stream.network.state_dict().items()}
    trained = train(clip_set, stream, tmp_path / "work")
    after = trained.network.appearance.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in after)


def test_a_penalty_is_seen_in_the_curves(clip_set: ClipSet, stream: Stream, tmp_path: Path) -> None:
    train(clip_set, stream, tmp_path / "work", attention_penalty=10.0)
    assert "train/attention_penalty" in (tmp_path / "work" / "curves.csv").read_text()


class InterruptsAt:
    """A tracker that presses Ctrl-C when it hears of a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def log_metrics(self, metrics: dict, step: int) -> None:
        if step == self.step:
            raise KeyboardInterrupt

    def set_tags(self, tags: dict) -> None:
        pass


def test_an_interrupted_run_goes_on_as_if_nothing_had_been(clip_set: ClipSet, stream: Stream, tmp_path: Path) -> None:
    whole = train(clip_set, stream, tmp_path / "undisturbed")
    with pytest.raises(KeyboardInterrupt):
        train(clip_set, stream, tmp_path / "work", tracker=InterruptsAt(8))
    resumed = train(clip_set, stream, tmp_path / "work")
    expected = whole.network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.network.state_dict().items())


def test_features_that_are_missing(clip_set: ClipSet, stream: Stream, tmp_path: Path) -> None:
    entries = {name: entry for name, entry in stream.features.entries.items() if not name.startswith("val")}
    less = dataclasses.replace(stream, features=dataclasses.replace(stream.features, entries=entries))
    with pytest.raises(KineflowError, match="no features for 2 of 2 clips"):
        train(clip_set, less, tmp_path / "work")


def test_clips_that_are_missing(clip_set: ClipSet, stream: Stream, tmp_path: Path) -> None:
    clips = tuple(clip for clip in clip_set.clips if clip.split is not Split.VAL)
    with pytest.raises(KineflowError, match="no usable clip in split 'val'"):
        train(dataclasses.replace(clip_set, clips=clips), stream, tmp_path / "work")
