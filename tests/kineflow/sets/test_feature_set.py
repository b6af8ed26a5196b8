"""Feature sets on disk: whole, partial and damaged reads."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from kineflow.sets.feature_set import (
    FEATURE_INDEX_FILE,
    FEATURESET_FILE,
    FeatureEntry,
    FeatureSet,
    FeatureSource,
    write_features,
)
from kineflow.spec.flow_source import FlowSource
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError

SEEN = Preprocessing("flow", 1, 1, short_side=64, crop=64, mean=(127.5,) * 2, std=(57.0,) * 2, fit="squash")
SOURCE = FeatureSource("0" * 64, "backbone", "map", SEEN, FlowSource({"tau": 0.25, "border": "zeros"}, 5.0))
SHAPE = (3, 2, 4)


def time_steps(*which: int) -> np.ndarray:
    return np.array(which, dtype=np.int64)


@pytest.fixture
def clip() -> torch.Tensor:
    return torch.randn(6, *SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def stored(tmp_path: Path, clip: torch.Tensor) -> FeatureSet:
    entries = {
        "a/seen": FeatureEntry("a/seen", "a/seen-1.safetensors", 6, Status.OK, ""),
        "single": FeatureEntry("single", "", 0, Status.SHORT, "no flow: 1 frame has no motion to measure"),
    }
    write_features(tmp_path / "media" / "a/seen-1.safetensors", clip)
    return FeatureSet(SOURCE, SHAPE, entries, str(tmp_path / "media"))


def test_a_set_is_read_as_it_was_saved(stored: FeatureSet, tmp_path: Path) -> None:
    stored.save(tmp_path)
    assert FeatureSet.load(tmp_path) == stored
    assert json.loads((tmp_path / FEATURESET_FILE).read_text())["media_root"] == "media"
    elsewhere = dataclasses.replace(stored, media_root="/volume/features")
    elsewhere.save(tmp_path)
    assert FeatureSet.load(tmp_path) == elsewhere
    assert stored.usable_ids() == {"a/seen"}


def test_a_moved_set_finds_its_media(stored: FeatureSet, tmp_path: Path, clip: torch.Tensor) -> None:
    stored.save(tmp_path)
    moved = tmp_path.parent / f"{tmp_path.name}-moved"
    tmp_path.rename(moved)
    assert FeatureSet.load(moved).read("a/seen", time_steps(5)).shape == (1, *SHAPE)
    moved.rename(tmp_path)


@pytest.mark.parametrize("window", [(0, 1, 2, 3, 4, 5), (4,), (2, 2, 5, 3)])
def test_windows_are_the_time_steps_asked_for(stored: FeatureSet, clip: torch.Tensor, window: tuple[int, ...]) -> None:
    read = stored.read("a/seen", time_steps(*window))
    assert read.dtype == torch.float32
    torch.testing.assert_close(read, clip[list(window)], rtol=2**-11, atol=1e-7)
    assert torch.equal(read, clip.half()[list(window)].float())


@pytest.mark.parametrize(("clip_id", "message"), [("other", "no features of clip 'other'"), ("single", "no motion")])
def test_clips_without_features(stored: FeatureSet, clip_id: str, message: str) -> None:
    with pytest.raises(KineflowError, match=message):
        stored.locate(clip_id)


def test_a_path_out_of_the_media(stored: FeatureSet) -> None:
    outside = dataclasses.replace(stored.entries["a/seen"], path="../x.safetensors")
    with pytest.raises(KineflowError, match="outside"):
        dataclasses.replace(stored, entries={"a/seen": outside}).locate("a/seen")


def test_time_steps_beyond_the_end(stored: FeatureSet) -> None:
    with pytest.raises(KineflowError, match=r"time steps 5 to 6 .* among 6"):
        stored.read("a/seen", time_steps(5, 6))


def test_features_of_another_shape(stored: FeatureSet) -> None:
    with pytest.raises(KineflowError, match=r"shape \[3, 4, 2\]"):
        dataclasses.replace(stored, shape=(3, 4, 2)).read("a/seen", time_steps(0))


@pytest.mark.parametrize("content", [b"", b"\xff" * 100])
def test_damaged_files(stored: FeatureSet, content: bytes) -> None:
    stored.locate("a/seen").write_bytes(content)
    with pytest.raises(KineflowError, match="damaged"):
        stored.read("a/seen", time_steps(0))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e5])
def test_values_beyond_sixteen_bits_are_not_written(tmp_path: Path, value: float) -> None:
    with pytest.raises(KineflowError, match="65504"):
        write_features(tmp_path / "x.safetensors", torch.full((1, 2), value))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (FEATURE_INDEX_FILE, None),
        (FEATURESET_FILE, None),
        (FEATURESET_FILE, "{}"),
        (FEATURESET_FILE, "[1]"),
        (FEATURESET_FILE, '{"format_version": 1, "source": {"backbone": "0"}, "shape": [1], "media_root": "media"}'),
        (FEATURE_INDEX_FILE, "no parquet"),
    ],
)
def test_what_is_no_feature_set(stored: FeatureSet, tmp_path: Path, file: str, content: str | None) -> None:
    stored.save(tmp_path)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_text(content)
    with pytest.raises(KineflowError, match="no readable feature set") as caught:
        FeatureSet.load(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_later_format(stored: FeatureSet, tmp_path: Path) -> None:
    stored.save(tmp_path)
    described = json.loads((tmp_path / FEATURESET_FILE).read_text())
    (tmp_path / FEATURESET_FILE).write_text(json.dumps({**described, "format_version": 3}))
    with pytest.raises(KineflowError, match="format 3"):
        FeatureSet.load(tmp_path)
