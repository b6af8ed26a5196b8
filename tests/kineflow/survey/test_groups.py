"""Groups that are found: by what a clip looks like, and parts of one video whatever they look like."""

from __future__ import annotations

import numpy as np

from kineflow.data.fingerprint import Fingerprint
from kineflow.data.layouts.rows import ListedClip
from kineflow.spec.split import Split
from kineflow.survey.facts import Header, Look
from kineflow.survey.groups import find_groups, with_groups
from kineflow.survey.survey_set import SeenClip


def seen(number: int, source: str, scene: int, start: float | None = None) -> SeenClip:
    frames = np.random.default_rng(scene).integers(0, 255, (4, 48, 64), dtype=np.uint8)
    look = Look(Header(25.0, 2.0, 64, 48, "h264"), fingerprint=Fingerprint.of(frames))
    return SeenClip(number, ListedClip(source, "x", Split.TRAIN, source, "l:1", start_sec=start), look)


def test_scenes_and_parts_of_one_video_are_together() -> None:
    clips = [seen(0, "a/x.mp4", 1), seen(1, "b/y.mp4", 2), seen(2, "b/z.mp4", 1), seen(3, "b/y.mp4", 3, start=5.0)]
    groups = find_groups(clips)
    assert [(group.name, group.members) for group in groups] == [("a/x", (0, 2)), ("b/y", (1, 3))]
    assert "x.mp4 and z.mp4" in groups[0].reasons[0]
    assert groups[1].reasons == ("parts of one video",)
    called_as_their_class = [seen(4, "x/x (1).mp4", 4), seen(5, "x/x (2).mp4", 5)]
    assert len(find_groups(called_as_their_class)) == 2
    assert [clip.listed.group for clip in with_groups(clips, groups)] == ["a/x", "b/y", "a/x", "b/y"]
