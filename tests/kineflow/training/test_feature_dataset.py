"""Windows of stored features: which time steps of which clip a draw gives."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from kineflow.data.batch_sampler import SampleRef
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.feature_set import FeatureEntry, FeatureSet, FeatureSource, write_features
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.sampling import ClipSpec
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.training.feature_dataset import FeatureDataset

LENGTHS = {"a": 7, "b": 4, "short": 2}  # time steps
SOURCE = FeatureSource("0", "b", "vector", Preprocessing("rgb", 1, 1, 16, 16, (0.0,) * 3, (1.0,) * 3))


def clip(name: str) -> Clip:
    frames = LENGTHS[name] + 1
    return Clip(
        name, name, "y" if name == "b" else "x", name, Split.TRAIN, frames, 25.0, 16, 16, 0, name, Status.OK, "", name
    )


CLIPS = ClipSet(("x", "y"), tuple(map(clip, LENGTHS)), "")


@pytest.fixture
def features(tmp_path: Path) -> FeatureSet:
    """Each moment's vector holds its number, and the clip's."""
    for number, (name, time_steps) in enumerate(LENGTHS.items()):
        values = torch.stack([torch.arange(time_steps), torch.full((time_steps,), number)], dim=1).float()
        write_features(tmp_path / f"{name}.safetensors", values)
    entries = {name: FeatureEntry(name, f"{name}.safetensors", n, Status.OK, "") for name, n in LENGTHS.items()}
    return FeatureSet(SOURCE, (2,), entries, str(tmp_path))


def dataset(features: FeatureSet, **options) -> FeatureDataset:
    given = {"feature_sets": {"features": features}, "spec": ClipSpec(3)} | options
    return FeatureDataset(CLIPS, CLIPS.clips, **given)


def time_steps(sample: dict[str, torch.Tensor]) -> list[int]:
    return sample["features"][:, 0].int().tolist()


def test_validation_sees_the_middle(features: FeatureSet) -> None:
    clips = dataset(features)
    assert [time_steps(clips[number]) for number in range(len(clips))] == [[2, 3, 4], [0, 1, 2], [0, 1, 1]]
    assert [int(clips[number]["label"]) for number in range(3)] == [0, 1, 0]
    assert clips[1]["features"].dtype == torch.float32
    assert clips[1]["features"][:, 1].tolist() == [1, 1, 1]


def test_strides(features: FeatureSet) -> None:
    assert time_steps(dataset(features, spec=ClipSpec(3, 2))[0]) == [1, 3, 5]


def test_random_windows_depend_on_the_draw_alone(features: FeatureSet) -> None:
    clips = dataset(features)
    found = {tuple(time_steps(clips[SampleRef(0, (5, number))])) for number in range(60)}
    assert found == {(start, start + 1, start + 2) for start in range(5)}
    assert time_steps(clips[SampleRef(0, (5, 1))]) == time_steps(
        dataset(features, cache_bytes=1 << 20)[SampleRef(0, (5, 1))]
    )


def test_every_window_is_an_item(features: FeatureSet) -> None:
    clips = dataset(features, every_window=True)
    assert clips.items == 5 + 2 + 1
    found = [clips[SampleRef(number, (0,))] for number in range(clips.items)]
    assert [time_steps(sample) for sample in found] == [
        [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [4, 5, 6], [0, 1, 2], [1, 2, 3], [0, 1, 1],
    ]  # fmt: skip
    assert Counter(int(sample["features"][0, 1]) for sample in found) == {0: 5, 1: 2, 2: 1}
    assert len(clips) == 3  # of which validation sees the middle each
    assert dataset(features).items == 3


@pytest.mark.parametrize("cache_bytes", [0, 2 * 2 * 7, 1 << 20])
def test_the_cache_changes_nothing(features: FeatureSet, cache_bytes: int) -> None:
    clips = dataset(features, cache_bytes=cache_bytes)
    for _ in range(2):
        assert [time_steps(clips[number]) for number in range(3)] == [[2, 3, 4], [0, 1, 2], [0, 1, 1]]


def test_cached_clips_are_not_read_again(features: FeatureSet) -> None:
    clips = dataset(features, cache_bytes=2 * 2 * 7)  # as large as the first clip
    clips[0], clips[1]
    for name in ("a", "b"):
        features.locate(name).unlink()
    assert time_steps(clips[0]) == [2, 3, 4]
    with pytest.raises(KineflowError, match="gone"):
        clips[1]


def test_two_inputs_are_of_the_same_time_steps(features: FeatureSet) -> None:
    clips = dataset(features, feature_sets={"appearance": features, "motion": features})
    sample = clips[SampleRef(0, (1, 2))]
    assert sample.keys() == {"appearance", "motion", "label"}
    assert torch.equal(sample["appearance"], sample["motion"])


def test_missing_features(features: FeatureSet) -> None:
    less = FeatureSet(SOURCE, (2,), {"a": features.entries["a"]}, features.media_root)
    with pytest.raises(KineflowError, match="2 of 3 clips, the first of them b, short"):
        dataset(less)
