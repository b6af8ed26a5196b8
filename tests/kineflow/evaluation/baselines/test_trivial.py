"""Trivial baselines on clips that differ in motion, or in length, alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kineflow.data.clip_looks import look_at
from kineflow.evaluation.baselines.classifier import class_prior, fit_baseline, probabilities_of
from kineflow.evaluation.baselines.features import LENGTH_RATE_SIZE, MOTION_ENERGY, SINGLE_FRAME, baseline_features
from kineflow.evaluation.baselines.trivial import trivial_baselines
from kineflow.evaluation.scores import Scores
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.video.encode import write_video

CLASSES = ("still", "wild")


def video(speed, *, frames=12, seed=0):
    """Noise that moves ``speed`` px a frame over a dark ground."""
    texture = np.random.default_rng(seed).integers(0, 255, (16, 16, 3), np.uint8)
    film = np.full((frames, 48, 64, 3), 30, np.uint8)
    for time in range(frames):
        x = (8 + speed * time) % 48
        film[time, 16:32, x : x + 16] = texture
    return film


@pytest.fixture(scope="module")
def clip_set(tmp_path_factory):
    folder, clips = tmp_path_factory.mktemp("clips"), []
    for number in range(24):
        split = Split.TEST if number >= 16 else Split.VAL if number >= 12 else Split.TRAIN
        label = CLASSES[number % 2]
        write_video(folder / f"c{number:02}.mp4", video(4 if label == "wild" else 0, seed=number), fps=25)
        clips.append(
            Clip(f"c{number:02}", f"c{number:02}.mp4", label, f"g{number // 2}", split, 12, 25.0, 64, 48, 0,
                 f"{number:064x}", Status.OK, "", "")
        )  # fmt: skip
    return ClipSet(CLASSES, tuple(clips), str(folder))


def like(clip_set):
    clips = clip_set.usable(Split.TEST)
    labels = np.array([clip_set.label_index(clip) for clip in clips])
    return Scores("m", tuple(c.clip_id for c in clips), labels, CLASSES, np.zeros((len(clips), 2), np.float32), "test")


def accuracy(scores):
    return (scores.predictions() == scores.labels).mean()


def test_motion_tells_clips_apart_that_nothing_else_does(clip_set):
    found = {scores.model: scores for scores in trivial_baselines(clip_set, like(clip_set))}
    assert list(found) == ["class prior", MOTION_ENERGY, SINGLE_FRAME, LENGTH_RATE_SIZE]
    assert accuracy(found[MOTION_ENERGY]) == 1
    assert accuracy(found["class prior"]) == accuracy(found[LENGTH_RATE_SIZE]) == 0.5
    for scores in found.values():
        assert np.exp(scores.logits.astype(float)).sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_a_shortcut_is_found(clip_set):
    """The same clips, whose manifest says that one class was filmed at another rate."""
    filmed = tuple(dataclasses.replace(clip, fps=30.0 if clip.label == "wild" else 24.0) for clip in clip_set.clips)
    found = trivial_baselines(dataclasses.replace(clip_set, clips=filmed), like(clip_set))
    assert accuracy(next(scores for scores in found if scores.model == LENGTH_RATE_SIZE)) == 1


def test_what_is_evaluated_is_not_learnt_from(clip_set):
    val = dataclasses.replace(like(clip_set), split="train")
    only_train = tuple(clip for clip in clip_set.clips if clip.split is not Split.VAL)
    assert trivial_baselines(dataclasses.replace(clip_set, clips=only_train), val) == ()


def test_a_clip_that_cannot_be_read_is_taken_for_a_typical_one(clip_set, tmp_path, caplog):
    broken = dataclasses.replace(clip_set.clips[0], path="gone.mp4")
    features = baseline_features(clip_set, [broken, clip_set.clips[1]])
    assert np.isnan(features[MOTION_ENERGY][0]).all()
    assert np.isfinite(features[MOTION_ENERGY][1]).all()
    assert "1 of 2 clips could not be looked at, first c00" in caplog.text
    every = [clip for clip in clip_set.clips if clip.split is Split.TRAIN]
    seen = baseline_features(clip_set, every)[MOTION_ENERGY]
    fitted = fit_baseline(seen, np.arange(12) % 2, [clip.group for clip in every], 0)
    assert np.isfinite(fitted.predict_proba(features[MOTION_ENERGY])).all()


def test_motion_is_a_second_s_whatever_the_rate(tmp_path):
    rates = {30: 3, 10: 1}  # every third frame of the faster film
    film, looks = video(1, frames=31), []
    for rate, take in rates.items():
        path = tmp_path / f"{rate}.mp4"
        frames = film[:: 3 // take]
        write_video(path, frames, fps=rate)
        clip = Clip("c", path.name, "a", "g", Split.TRAIN, len(frames), float(rate), 64, 48, 0, "", Status.OK, "", "")
        looks.append(look_at(ClipSet(("a",), (clip,), str(tmp_path)), clip).motion)
    assert looks[0] == pytest.approx(looks[1], rel=0.1)


def test_folds_keep_groups_whole():
    """Each group has a mark of its own, by which its clips could be told if some of them were learnt from."""
    groups = [str(place // 10) for place in range(60)]
    marks = np.eye(6)[np.arange(60) // 10] * 5
    labels = np.repeat([0, 1, 0, 1, 0, 1], 10)
    strength = fit_baseline(marks, labels, groups, 0)[-1].C
    assert strength == min(0.001, strength)
    apart = fit_baseline(marks, labels, [str(place) for place in range(60)], 0)[-1].C
    assert apart == 10


def test_one_class_alone_and_a_class_that_was_never_seen():
    only = fit_baseline(np.ones((3, 1)), np.array([1, 1, 1]), ["a", "b", "c"], 0)
    assert probabilities_of(only, np.zeros((2, 1)), 3).tolist() == [[0, 1, 0], [0, 1, 0]]
    assert class_prior(np.array([0, 0, 1]), 3) == pytest.approx(np.array([2.5, 1.5, 0.5]) / 4.5)
