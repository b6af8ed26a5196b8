"""Each modality's windows against the same cut by hand, from frames whose pixels say when and where they are."""

import dataclasses

import numpy as np
import pytest
import torch

from kineflow.data.windows import needed_of, prepare_windows, step_bytes, window_views
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.sampling import ClipSpec, uniform_clips

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


def prepared(windows, wanted, frames, fields, **options):
    """Network inputs of windows, from whole videos of which what is needed is read."""
    needed = needed_of(windows, wanted, n_frames=FRAMES)
    for read in needed:
        assert read.tolist() == sorted(set(read.tolist()))
    given = (source[read] if len(read) else None for source, read in zip((frames, fields), needed, strict=True))
    return prepare_windows(windows, needed, *given, wanted, n_frames=FRAMES, **options)


@pytest.mark.parametrize("modality", PREPROCESSING)
@pytest.mark.parametrize("crops", [1, 5, 10])
def test_windows_are_cut_normalised_and_in_order(modality, crops):
    wanted = PREPROCESSING[modality]
    frames = video(len(wanted.mean))
    windows = uniform_clips(FRAMES - 1, ClipSpec(3), 4)
    clips = prepared(windows, wanted, frames, frames, crops=crops)
    assert clips.shape == (4, crops, len(wanted.mean), 3, 4, 4)

    corners = [(2, 4)] if crops == 1 else [(0, 0), (0, 8), (4, 0), (4, 8), (2, 4)]
    for number, window in enumerate(windows):
        time_steps = torch.from_numpy(frames.astype(np.float32))
        seen = time_steps[window + 1] - time_steps[window] if modality == "rgb_difference" else time_steps[window]
        for crop in range(crops):
            top, left = corners[crop % 5]
            cut = seen[:, top : top + 4, left : left + 4].clone()
            if crop >= 5:
                cut = cut.flip(2)
                if "flow" in modality:
                    cut[..., 0] = 255 - cut[..., 0]
            expected = (cut - torch.tensor(wanted.mean)) / torch.tensor(wanted.std)  # [T,4,4,C]
            torch.testing.assert_close(clips[number, crop], expected.permute(3, 0, 1, 2))


def test_a_time_step_is_held_once_whatever_shows_it():
    windows = uniform_clips(FRAMES - 1, ClipSpec(3), 7)
    needed = needed_of(windows, RGB, n_frames=FRAMES)
    views = window_views(windows, needed, video(3)[needed.frames], None, RGB, n_frames=FRAMES, crops=10)
    assert (views.steps.dtype, tuple(views.steps.shape)) == (torch.uint8, (FRAMES - 1, 8, 12, 3))
    every = views.inputs()
    assert len(every) == len(views) == 70
    for first, stop in ((0, 1), (3, 8), (9, 31), (64, 99)):
        torch.testing.assert_close(views.inputs(first, stop), every[first:stop], rtol=0, atol=0)


def test_a_difference_past_the_end_is_none():
    wanted = PREPROCESSING["rgb_difference"]
    windows = np.array([[9, 10, 11]])
    clip = prepared(windows, dataclasses.replace(wanted, mean=(0.0,) * 3), video(3), None)
    assert clip[0, 0, :, :2].any()
    assert not clip[0, 0, :, 2].any()


STACKS = Preprocessing("rgb_flow", 3, 2, short_side=8, crop=4, mean=(0.0,) * 11, std=(1.0,) * 11, channel_order="bgr")


def test_frames_and_the_fields_around_them_share_their_view():
    frames, fields = video(3), video(2)[: FRAMES - 1] // 2
    windows = np.array([[0, 2, 4], [6, 8, 10]])
    clips = prepared(windows, STACKS, frames, fields, crops=2)
    assert clips.shape == (2, 2, 11, 3, 4, 4)
    for number, window in enumerate(windows):
        for step, moment in enumerate(window):
            seen = clips[number, 0, :, step]
            torch.testing.assert_close(seen[:3].flip(0), cut(frames[moment]))  # colours as BGR
            for place, offset in enumerate((-2, -1, 0, 1)):
                field = cut(fields[np.clip(moment + offset, 0, FRAMES - 2)])
                torch.testing.assert_close(seen[3 + 2 * place : 5 + 2 * place], field)
                mirrored = clips[number, 1, 3 + 2 * place : 5 + 2 * place, step]
                torch.testing.assert_close(mirrored, torch.stack([255 - field[0].flip(1), field[1].flip(1)]))


def cut(frame):
    return torch.from_numpy(frame[2:6, 4:8].astype(np.float32)).permute(2, 0, 1)


def test_a_squashed_frame_is_seen_whole_whatever_the_size_of_its_flow():
    wanted = dataclasses.replace(STACKS, mean=(0.0,) * 5, std=(1.0,) * 5, channel_order="rgb", fit="squash")
    frames = np.zeros((FRAMES, 8, 12, 3), np.uint8)
    fields = np.zeros((FRAMES - 1, 16, 24, 2), np.uint8)
    frames[:, :, 6:], fields[:, :, 12:] = 200, 100
    clips = prepared(np.array([[0, 1, 2]]), wanted, frames, fields, crops=2)
    assert clips.shape == (1, 2, 5, 3, 4, 4)
    columns = clips[0, :, :, 0].mean(dim=2)  # [crops, C, S]
    assert columns[0, 0].tolist() == [0, 0, 200, 200]
    assert columns[0, 4].tolist() == [0, 0, 100, 100]
    assert columns[1, 4].tolist() == [100, 100, 0, 0]


def test_whole_frames_keep_their_size():
    clips = prepared(np.array([[0, 1, 2]]), RGB, video(3), None, crops="whole")
    assert clips.shape == (1, 2, 3, 3, 8, 12)
    torch.testing.assert_close(clips[:, 1], clips[:, 0].flip(4))


@pytest.mark.parametrize("size", [None, (8, 8), (40, 8)])
def test_bytes_of_a_step_are_those_that_it_has(size):
    wanted, windows = dataclasses.replace(RGB, size=size), np.array([[0, 1, 2]])
    frames = video(3)[:3]
    views = window_views(windows, needed_of(windows, wanted, n_frames=3), frames, None, wanted, n_frames=3, crops=3)
    assert step_bytes(*frames.shape[1:3], wanted, 3) == views.steps[0].nbytes
