"""What frames tell of a clip, and which clips are copies by it."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from kineflow.data.clip_contents import ClipContent, contents_of
from kineflow.data.kept_contents import read_kept, write_kept
from kineflow.data.near_copies import find_copies, likeness
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.video.encode import write_video

FRAMES = 48


def film(scene: int, action: int) -> np.ndarray:
    """Something that goes its way before a background, float [48,64,64]."""
    background = cv2.GaussianBlur(np.random.default_rng(scene).uniform(0, 255, (64, 64)), (0, 0), 3)
    background = (background - background.min()) / np.ptp(background) * 160 + 40
    way = np.random.default_rng(100 + action).uniform(10, 54, (4, 2))
    times = np.linspace(0, 3, FRAMES)
    rows, columns = np.mgrid[:64, :64]
    frames = []
    for time in times:
        y, x = (np.interp(time, range(4), way[:, axis]) for axis in (0, 1))
        frames.append(np.where((rows - y) ** 2 + (columns - x) ** 2 < 80, 250.0, background))
    return np.stack(frames)


def content(frames: np.ndarray, fps: float = 25.0) -> ClipContent:
    pixels = np.clip(np.rint(frames), 0, 255).astype(np.uint8)
    even = pixels[((np.arange(16) + 0.5) / 16 * len(pixels)).astype(int)]
    return ClipContent.of(even, (pixels[:-1], pixels[1:]), pixels[len(pixels) // 2], seconds_apart=1 / fps)


def resized(frames: np.ndarray, side: int) -> np.ndarray:
    return np.stack([cv2.resize(cv2.resize(each, (side, side)), (64, 64)) for each in frames])


COPIES = {
    "noise of coding": lambda frames: frames + np.random.default_rng(0).normal(0, 6, frames.shape),
    "half the size": lambda frames: resized(frames, 32),
    "one frame less at the end": lambda frames: frames[:-1],
    "one frame less at the beginning": lambda frames: frames[1:],
    "another rate": lambda frames: frames[np.arange(0, FRAMES, 1.5).astype(int)],
    "brighter, with more contrast": lambda frames: frames * 1.1 + 10,
}


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_a_copy_is_found_among_clips_of_its_scene_and_of_its_action(change):
    original = film(0, 0)
    others = [content(film(*each)) for each in ((0, 1), (1, 0), (2, 2))]
    clips = [others[0], content(original), None, *others[1:], content(change(original))]
    assert find_copies(clips, correlation=0.85) == [0, 1, 2, 3, 4, 1]


def test_clips_that_stand_still_are_copies_of_none_and_tell_that_they_do():
    still = content(np.repeat(film(0, 0)[:1], FRAMES, axis=0))
    black = content(np.zeros((FRAMES, 64, 64)))
    assert find_copies([still, still, black, black], correlation=0.85) == [0, 1, 2, 3]
    assert still.change == still.motion == black.change == black.brightness == black.sharpness == 0
    assert content(film(0, 0)).change > 20


def test_copies_of_copies_are_one_group_with_the_lowest_number_however_many_are_compared(monkeypatch):
    monkeypatch.setattr("kineflow.data.near_copies._ROWS", 2)
    monkeypatch.setattr("kineflow.data.near_copies._COLUMNS", 3)
    one, two = content(film(0, 0)), content(film(1, 1))
    assert find_copies([one, two] * 4, correlation=0.85) == [0, 1] * 4
    assert find_copies([], correlation=0.85) == []
    axes = np.eye(245, dtype=np.float32)
    ways = axes[0], axes[1], (axes[0] + axes[1]) / np.float32(np.sqrt(2))  # the third is like both of the others
    assert find_copies([dataclasses.replace(one, movement=way) for way in ways], correlation=0.7) == [0, 0, 0]


def test_light_motion_and_sharpness_are_in_their_units():
    frames = film(0, 0)
    sharp, blurred = content(frames), content(np.stack([cv2.GaussianBlur(each, (0, 0), 3) for each in frames]))
    assert sharp.sharpness > 2 * blurred.sharpness
    assert content(frames / 2).brightness == pytest.approx(sharp.brightness / 2, abs=1)
    flicker = np.zeros((10, 64, 64))
    flicker[::2] = 20
    assert content(flicker, fps=10).motion == pytest.approx(200)


def test_what_clips_show_is_kept_by_their_names_and_a_damaged_file_is_nothing(tmp_path):
    path, name = tmp_path / "kept.bin", f"clips/ab/{'ab' * 16}.mp4"
    shown = content(film(0, 0))
    write_kept(path, {name: shown, "a.mp4": shown})  # the second may hold something else tomorrow
    (kept,) = read_kept(path).items()
    assert kept[0] == name
    assert likeness(kept[1], shown) == pytest.approx(1, abs=1e-6)
    assert kept[1].change == pytest.approx(shown.change)
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole.replace(b"contents 1", b"contents 0"), b"", whole[:-4] + b"\xff\xff\xff\xff"):
        path.write_bytes(damaged)
        assert read_kept(path) == {}
    assert read_kept(tmp_path / "none") == {}


def test_stored_clips_are_decoded_once_a_file_and_lost_ones_are_none(tmp_path, caplog):
    write_video(tmp_path / "a.mp4", np.repeat(film(0, 0)[..., None], 3, axis=3).astype(np.uint8), fps=25)
    row = Clip("a", "a.mp4", "x", "g", Split.TRAIN, FRAMES, 25.0, 64, 64, 0, "", Status.OK, "", "")
    gone = [dataclasses.replace(row, clip_id=name, path=f"{name}.mp4") for name in "cd"]
    clips = (row, dataclasses.replace(row, clip_id="b"), *gone)
    clip_set = ClipSet(("x",), clips, str(tmp_path))
    first, second, lost, _ = contents_of(clip_set, clips)
    assert first is second
    assert likeness(first, content(film(0, 0))) > 0.98
    assert lost is None
    assert "2 of 3 stored clips could not be looked at, first c" in caplog.text
    known = content(film(1, 1))
    assert contents_of(clip_set, clips, {"a.mp4": known, "c.mp4": known}) == [known, known, None, None]
