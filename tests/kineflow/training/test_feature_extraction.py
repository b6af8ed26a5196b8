"""Features are what the backbone says of each frame, whatever the batches, and are computed once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from kineflow.models.network import ImageNetwork
from kineflow.models.registry import create_backbone
from kineflow.sets.clip_set import ClipSet
from kineflow.sets.feature_set import FeatureSet, FeatureSource, Tap
from kineflow.sets.flow_file import read_flow
from kineflow.sets.flow_set import FlowSet
from kineflow.spec.modality import Modality
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.training.feature_extraction import ClipsAndFlow, ExtractedFeatures, extract
from kineflow.video.decode import read_frames

pytestmark = pytest.mark.slow

FRAMES = 6
TIME_STEPS = FRAMES - 1


def source(modality: Modality = "rgb", tap: Tap = "map", **changes: object) -> FeatureSource:
    channels = 2 if modality == "flow" else 3
    preprocessing = Preprocessing(
        modality, 1, 1, short_side=16, crop=16, mean=(100.0,) * channels, std=(50.0,) * channels
    )
    return FeatureSource("0" * 64, "backbone", tap, dataclasses.replace(preprocessing, **changes))


def backbone(channels: int = 3) -> ImageNetwork:
    torch.manual_seed(0)
    return create_backbone("googlenet", in_channels=channels, width=0.125, output_stride=8).eval()


@pytest.fixture
def data(tiny_data) -> ClipsAndFlow:
    return ClipsAndFlow(ClipSet.load(tiny_data.clips), FlowSet.load(tiny_data.flow))


@pytest.fixture
def run(data: ClipsAndFlow, tmp_path: Path) -> Callable[..., tuple[ExtractedFeatures, FeatureSet]]:
    def run(wanted: FeatureSource, **options) -> tuple[ExtractedFeatures, FeatureSet]:
        network = backbone(len(wanted.preprocessing.mean))
        given = {"chosen": data.clip_set.usable(Split.TRAIN), "batch_frames": 8, "device": "cpu"} | options
        extracted = extract(network, wanted, given.pop("data", data), media=tmp_path / "media", **given)
        entries = {entry.clip_id: entry for entry in extracted.entries}
        return extracted, FeatureSet(wanted, extracted.shape, entries, str(tmp_path / "media"))

    return run


def direct(images: np.ndarray, tap: Tap) -> Tensor:
    """What the backbone says of images [n, H, W, C], one by one."""
    network = backbone(images.shape[3])
    with torch.no_grad():
        x = (torch.from_numpy(images).permute(0, 3, 1, 2).float() - 100) / 50
        maps = torch.cat([network.forward_features(image[None]) for image in x])
        return maps if tap == "map" else network.forward_head(maps, pre_logits=True)


@pytest.mark.parametrize("tap", ["map", "vector"])
@pytest.mark.parametrize("modality", ["rgb", "rgb_difference", "flow"])
@pytest.mark.parametrize("batch_frames", [1, 3, 100])
def test_features_are_the_backbone_s_own(
    data: ClipsAndFlow, run, tap: Tap, modality: Modality, batch_frames: int
) -> None:
    extracted, features = run(source(modality, tap), batch_frames=batch_frames)
    assert extracted.time_steps == 4 * TIME_STEPS
    for clip in data.clip_set.usable(Split.TRAIN):
        if modality == "flow":
            inputs = read_flow(data.flow_set.locate(clip.clip_id))
        else:
            frames = read_frames(data.clip_set.locate(clip)).astype(np.int16)
            inputs = frames[1:] - frames[:-1] if modality == "rgb_difference" else frames[:-1]
        expected = direct(inputs, tap)
        stored = features.read(clip.clip_id, np.arange(TIME_STEPS))
        assert features.shape == tuple(expected.shape[1:])
        torch.testing.assert_close(stored, expected, rtol=2**-10, atol=1e-3)


def test_the_view_is_the_preprocessing_s(data: ClipsAndFlow, run) -> None:
    clip = data.clip_set.usable(Split.TRAIN)[0]
    _, whole = run(source())
    _, middle = run(source(short_side=32))  # twice as large, of which the middle 16x16 is cut
    _, squashed = run(source(short_side=32, fit="squash"))
    window = np.arange(TIME_STEPS)
    assert torch.equal(squashed.read(clip.clip_id, window), whole.read(clip.clip_id, window))
    assert not torch.equal(middle.read(clip.clip_id, window), whole.read(clip.clip_id, window))


def test_threads_make_no_difference(data: ClipsAndFlow, run, tmp_path: Path) -> None:
    clip = data.clip_set.usable(Split.TRAIN)[-1]
    one = run(source())[1].read(clip.clip_id, np.arange(TIME_STEPS))
    (tmp_path / "media").rename(tmp_path / "before")
    extracted, features = run(source(), workers=2)
    assert extracted.time_steps == 4 * TIME_STEPS
    assert torch.equal(features.read(clip.clip_id, np.arange(TIME_STEPS)), one)


def test_what_is_there_is_not_done_again(data: ClipsAndFlow, run) -> None:
    chosen = data.clip_set.usable(Split.TRAIN)
    assert run(source(), chosen=chosen[:1])[0].time_steps == TIME_STEPS
    rest, features = run(source())
    assert rest.time_steps == 3 * TIME_STEPS
    assert features.usable_ids() == {clip.clip_id for clip in chosen}
    assert run(source())[0].time_steps == 0
    renamed = dataclasses.replace(source(), name="another name")
    assert run(renamed)[0].time_steps == 0


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(source(), backbone="1" * 64),
        source(tap="vector"),
        source(mean=(90.0,) * 3),
        source(fit="squash"),
    ],
)
def test_other_features_lie_elsewhere(run, other: FeatureSource) -> None:
    first = {entry.path for entry in run(source())[0].entries}
    again = run(other)[0]
    assert again.time_steps == 4 * TIME_STEPS
    assert first.isdisjoint(entry.path for entry in again.entries)


def test_an_interrupted_run_keeps_whole_files_only(data: ClipsAndFlow, tmp_path: Path, monkeypatch) -> None:
    from kineflow.training import feature_extraction

    seen, see = [], feature_extraction.seen_by

    def stops(*arguments: object) -> Tensor:
        seen.append(None)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return see(*arguments)

    monkeypatch.setattr(feature_extraction, "seen_by", stops)
    chosen = data.clip_set.usable(Split.TRAIN)
    arguments = {"media": tmp_path, "batch_frames": TIME_STEPS, "device": "cpu"}
    with pytest.raises(KeyboardInterrupt):
        extract(backbone(), source(), data, chosen, **arguments)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2
    monkeypatch.setattr(feature_extraction, "seen_by", see)
    assert extract(backbone(), source(), data, chosen, **arguments).time_steps == 2 * TIME_STEPS


def test_clips_without_flow_are_listed(data: ClipsAndFlow, run) -> None:
    chosen = data.clip_set.usable(Split.TRAIN)
    entries = dict(data.flow_set.entries)
    entries[chosen[0].clip_id] = dataclasses.replace(
        entries[chosen[0].clip_id], path="", status=Status.SHORT, reason="1 frame has no motion to measure"
    )
    del entries[chosen[1].clip_id]
    less = ClipsAndFlow(data.clip_set, dataclasses.replace(data.flow_set, entries=entries))
    extracted, features = run(source("flow"), data=less)
    assert [entry.status for entry in extracted.entries[:2]] == [Status.SHORT, Status.UNREADABLE]
    assert "no motion" in extracted.entries[0].reason
    assert features.usable_ids() == {clip.clip_id for clip in chosen[2:]}
    assert extracted.time_steps == 2 * TIME_STEPS


def test_flow_that_was_not_given(data: ClipsAndFlow, run) -> None:
    with pytest.raises(KineflowError, match="no flow set"):
        run(source("flow"), data=ClipsAndFlow(data.clip_set, None))


def test_a_clip_that_is_gone(data: ClipsAndFlow, run) -> None:
    gone = dataclasses.replace(data.clip_set.usable(Split.TRAIN)[0], path="gone.mp4")
    with pytest.raises(KineflowError, match=r"gone\.mp4"):
        run(source(), chosen=[gone])
