"""Which clips a task is fitted to."""

from __future__ import annotations

from typing import Any

import pytest

from kineflow.sets.clip_set import ClipSet
from kineflow.spec.preprocessing import Preprocessing
from kineflow.tracking.tracker import NULL_TRACKER
from kineflow.training import clips
from kineflow.training.settings import TrainSettings
from kineflow.training.tasks import Classification


@pytest.mark.parametrize("sampling", ["natural", "balanced"])
def test_classes_are_drawn_alike_where_that_is_asked(tiny_data, tiny_network, rgb, tmp_path, monkeypatch, sampling):
    given: dict[str, Any] = {}
    monkeypatch.setattr(clips, "fit_as_set", lambda task, **how: given.update(how))
    clip_set = ClipSet.load(tiny_data.clips)
    rgb = Preprocessing("rgb", 4, 1, short_side=16, crop=12, mean=rgb.mean, std=rgb.std)
    clips.fit_on_clips(
        Classification(tiny_network(), rgb), clips.Data(clip_set, None),
        TrainSettings(frames=4, short_side=16, crop=12, sampling=sampling), modalities=("rgb",), seed=0, work=tmp_path,
        tracker=NULL_TRACKER,
    )  # fmt: skip
    (pool,) = given["train"].pools
    labels = [{clip_set.label_index(given["train"].clips.clips[place]) for place in group} for group in pool.groups]
    assert labels == ([{0}, {1}] if sampling == "balanced" else [])
    assert not pool.groups or sorted(place for group in pool.groups for place in group) == list(pool.clips)
