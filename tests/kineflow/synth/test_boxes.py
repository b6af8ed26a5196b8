from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kineflow.storage.errors import KineflowError
from kineflow.synth.boxes import box_of_mask, track_of_masks, true_tracks
from kineflow.synth.dataset import GroupCounts, SynthSpec, make_dataset, truth_path
from kineflow.synth.truth import load_truth


def test_the_box_is_around_the_largest_piece() -> None:
    mask = np.zeros((10, 12), bool)
    mask[2:5, 3:8] = True
    mask[9, 11] = mask[0, 0] = True  # what has wrapped around
    box = box_of_mask(mask)
    assert box is not None
    assert box.tolist() == [3, 2, 8, 5]
    assert box_of_mask(np.zeros((4, 4), bool)) is None


def test_frames_without_the_actor_have_no_box() -> None:
    masks = np.zeros((3, 8, 6), bool)
    masks[0, 1:3, 1:4] = masks[2, 4:8, 0:2] = True
    track = track_of_masks(masks, clip="v", label="jump")
    assert track.frames.tolist() == [0, 2]
    assert track.boxes.tolist() == [[1, 1, 4, 3], [0, 4, 2, 8]]
    assert (track.width, track.height) == (6, 8)
    assert track_of_masks(masks[1:2], clip="v", label="jump").boxes.shape == (0, 4)


def test_tracks_of_a_synthetic_set(tmp_path: Path) -> None:
    spec = SynthSpec(
        groups=GroupCounts(train=1, val=1, test=1, unlabelled=1), takes=1, frames=3, size_px=32, radius_px=5.0
    )
    make_dataset(tmp_path / "data", spec, seed=1)
    tracks = true_tracks(tmp_path / "data")
    assert len(tracks) == 3 * len(spec.classes)  # unlabelled clips have no class to give
    assert {track.label for track in tracks} == set(spec.classes)
    for track in tracks[:4]:
        masks = load_truth(truth_path(tmp_path / "data", f"{track.clip}.mp4")).mask
        for frame, (left, top, right, bottom) in zip(track.frames, track.boxes.astype(int), strict=True):
            inside = masks[frame, top:bottom, left:right]
            assert inside.any(axis=0)[[0, -1]].all()
            assert inside.any(axis=1)[[0, -1]].all()
            assert inside.sum() >= masks[frame].sum() / 4


def test_a_folder_without_synthetic_clips(tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match="no synthetic clips here"):
        true_tracks(tmp_path)
