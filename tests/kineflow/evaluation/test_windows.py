"""Each modality's windows against the same cut by hand, from frames whose pixels say when and where they are."""

import dataclasses

import numpy as np
import pytest
import torch

from kineflow.data.sampling import ClipSpec, uniform_clips
from kineflow.evaluation.windows import needed_frames, prepare_windows
from kineflow.models.bundle import Preprocessing

FRAMES = 12
RGB = Preprocessing("rgb", 3, 1, short_side=8, crop=4, mean=(10.0, 20.0, 30.0), std=(1.0, 2.0, 4.0))
PREPROCESSING = {
    "rgb": RGB,
    "rgb_difference": dataclasses.replace(RGB, modality="rgb_difference"),
    "flow": dataclasses.replace(RGB, modality="flow", mean=(128.0,) * 2, std=(32.0,) * 2),
    "warped_flow": dataclasses.replace(RGB, modality="warped_flow", mean=(128.0,) * 2, std=(32.0,) * 2),
}


def video(channels: int) -> np.ndarray:
    t, y, x, c = np.mgrid[:FRAMES, :8, :12, :channels]
    return (t * t + 3 * x + y + 40 * c).astype(np.uint8)


@pytest.mark.parametrize("modality", PREPROCESSING)
@pytest.mark.parametrize("crops", [1, 5, 10])
def test_windows_are_cut_normalised_and_in_order(modality, crops):
    wanted = PREPROCESSING[modality]
    frames = video(len(wanted.mean))
    windows = uniform_clips(FRAMES - 1, ClipSpec(3), 4)
    needed, places = needed_frames(windows, wanted, n_frames=FRAMES)
    assert len(set(needed.tolist())) == len(needed)
    clips = prepare_windows(frames[needed], places, 4, wanted, crops=crops)
    assert clips.shape == (4, crops, len(wanted.mean), 3, 4, 4)

    corners = [(2, 4)] if crops == 1 else [(0, 0), (0, 8), (4, 0), (4, 8), (2, 4)]
    for number, window in enumerate(windows):
        moments = torch.from_numpy(frames.astype(np.float32))
        seen = moments[window + 1] - moments[window] if modality == "rgb_difference" else moments[window]
        for crop in range(crops):
            top, left = corners[crop % 5]
            cut = seen[:, top : top + 4, left : left + 4].clone()
            if crop >= 5:
                cut = cut.flip(2)
                if "flow" in modality:
                    cut[..., 0] = 255 - cut[..., 0]
            expected = (cut - torch.tensor(wanted.mean)) / torch.tensor(wanted.std)  # [T,4,4,C]
            torch.testing.assert_close(clips[number, crop], expected.permute(3, 0, 1, 2))


def test_a_difference_past_the_end_is_none():
    wanted = PREPROCESSING["rgb_difference"]
    windows = np.array([[9, 10, 11]])
    needed, places = needed_frames(windows, wanted, n_frames=FRAMES)
    clip = prepare_windows(video(3)[needed], places, 1, dataclasses.replace(wanted, mean=(0.0,) * 3))
    assert clip[0, 0, :, :2].any()
    assert not clip[0, 0, :, 2].any()
