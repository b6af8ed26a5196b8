"""Groups found by names, by frames that are the same, and by scenes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from kineflow.data import grouping
from kineflow.data.fingerprint import Fingerprint
from kineflow.data.grouping import group_clips
from kineflow.storage.errors import KineflowError
from kineflow.video.decode import read_frames


def scene(seed: int, *, frames: int = 5, actor: int = 0) -> np.ndarray:
    """A place of its own [n,36,64,3], in which something dark moves along, on a way that ``actor`` tells."""
    rng = np.random.default_rng(seed)
    place = cv2.resize(rng.integers(0, 256, (9, 16), dtype=np.uint8), (64, 36), interpolation=cv2.INTER_CUBIC)
    film = np.stack([np.repeat(place[..., None], 3, 2)] * frames)
    for number, frame in enumerate(film):
        top, left = 4 + 7 * (actor % 4), (8 * number + 11 * actor) % 52
        frame[top : top + 8, left : left + 12] = 10
    return film


def barred(film: np.ndarray) -> np.ndarray:
    return np.pad(film, ((0, 0), (14, 14), (0, 0), (0, 0)))


def members(names: Sequence[str], films: Sequence[np.ndarray | None]) -> list[tuple[int, ...]]:
    fingerprints = [None if film is None else Fingerprint.of(film) for film in films]
    return [group.members for group in group_clips(names, fingerprints)]


def test_scenes_are_told_apart_in_any_light_shape_and_with_any_sign() -> None:
    films = [scene(place, actor=actor) for actor in (0, 2) for place in range(6)]
    alike = [(place, place + 6) for place in range(6)]
    names = [f"v{number}" for number in range(12)]
    assert members(names, films) == alike
    darker = [(film * 0.7 + 20).astype(np.uint8) if number % 2 else film for number, film in enumerate(films)]
    assert members(names, [barred(film) if number > 5 else film for number, film in enumerate(darker)]) == alike
    for film in films:
        film[:, 1:7, 2:22] = 255
        film[:, -5:-1, 2:40:3] = 0
    assert members(names, films) == alike


def test_names_frames_and_scenes_join_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = scene(1), scene(2), scene(3, actor=1)
    monkeypatch.setattr(grouping, "SAME_SCENE", 1.1)
    cut = np.concatenate([second[-1:], scene(4, frames=4)])
    names = ["ann_000000_000010.mp4", "b.mp4", "ann_000010_000020.mp4", "c.mp4", "d.mp4"]
    groups = group_clips(names, [Fingerprint.of(film) for film in (first, second, third, cut)] + [None])
    assert [group.members for group in groups] == [(0, 2), (1, 3), (4,)]
    assert "called 'ann'" in groups[0].reasons[0].reason
    assert "nearly the same frame" in groups[1].reasons[0].reason
    monkeypatch.undo()
    monkeypatch.setattr(grouping, "SAME_FRAME_BITS", -1)
    (joined,) = group_clips(["x", "y"], [Fingerprint.of(scene(1, actor=actor)) for actor in (0, 2)])
    assert "same scene" in joined.reasons[0].reason
    with pytest.raises(KineflowError, match="1 fingerprints of 2 clips"):
        group_clips(["x", "y"], [None])


def test_frames_of_one_level_join_nothing() -> None:
    black, white = np.zeros((3, 36, 64, 3), np.uint8), np.full((3, 36, 64, 3), 250, np.uint8)
    assert members(["x", "y", "z"], [black, white, black]) == [(0,), (1,), (2,)]


def test_many_clips_are_not_compared_each_with_each(monkeypatch: pytest.MonkeyPatch) -> None:
    films = [scene(place, actor=actor) for actor in (0, 1, 2) for place in range(20)]
    names = [f"v{number}" for number in range(60)]
    exact = members(names, films)
    assert len(exact) == 20
    monkeypatch.setattr(grouping, "MOST_COMPARED", 10)
    found = members(names, films)
    assert all(any(set(part) <= set(whole) for whole in exact) for part in found)  # nothing else is joined
    assert sum(len(part) - 1 for part in found) >= 0.9 * sum(len(whole) - 1 for whole in exact)


@pytest.mark.parametrize("shape", [(0, 36, 64, 3), (9, 36, 64, 3), (2, 36, 65, 3), (2, 36, 64, 4)])
def test_frames_are_few_and_small(shape: tuple[int, ...]) -> None:
    with pytest.raises(KineflowError, match="frames"):
        Fingerprint.of(np.zeros(shape, np.uint8))


@pytest.mark.slow
def test_real_recordings_are_not_joined(shared_data: Path) -> None:
    """A quarter of the surveillance clips: what is joined is of one recording, and a fifth of those pairs are."""
    rows = list(csv.DictReader((shared_data / "fight" / "clips.csv").open()))[::4]
    fingerprints = []
    for row in rows:
        path = shared_data / "fight" / row["path"]
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            scale = 64 / max(stream.width, stream.height)
            size, frames = (round(stream.width * scale), round(stream.height * scale)), stream.frames
        wanted = np.linspace(0, frames - 1, 8).round().astype(int).tolist()
        fingerprints.append(Fingerprint.of(read_frames(path, wanted, size=size)))
    tree = {member: group.members[0] for group in group_clips([row["path"] for row in rows], fingerprints)
            for member in group.members}  # fmt: skip
    pairs = [(a, b) for a in range(len(rows)) for b in range(a)]
    joined = [rows[a]["group"] == rows[b]["group"] for a, b in pairs if tree[a] == tree[b]]
    same = [tree[a] == tree[b] for a, b in pairs if rows[a]["group"] == rows[b]["group"]]
    assert all(joined)
    assert np.mean(same) > 0.2
