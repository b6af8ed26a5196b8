import numpy as np

from kineflow.spec.modality import (
    assemble,
    channels_of,
    differences,
    flow_frames_of,
    frames_of,
    reads_flow,
    reads_frames,
)

MODALITIES = ("rgb", "rgb_difference", "flow", "warped_flow", "rgb_flow")


def test_what_is_read_and_how_many_channels_it_has():
    assert [reads_frames(m) for m in MODALITIES] == [True, True, False, False, True]
    assert [reads_flow(m) for m in MODALITIES] == [False, False, True, True, True]
    assert [channels_of(m) for m in MODALITIES] == [3, 3, 2, 2, 5]
    assert channels_of("rgb_flow", flow_frames=10) == 23


def test_a_difference_needs_the_next_frame_and_the_last_has_none():
    time_steps = np.array([3, 4, 5])
    assert frames_of(time_steps, "rgb_difference", n_frames=6).tolist() == [3, 4, 5, 4, 5, 5]
    for modality in ("rgb", "rgb_flow"):
        assert frames_of(time_steps, modality, n_frames=6).tolist() == [3, 4, 5]
    for modality in ("flow", "warped_flow"):
        assert flow_frames_of(time_steps, modality, n_frames=7).tolist() == [3, 4, 5]
        assert not len(frames_of(time_steps, modality, n_frames=7))
    assert not len(flow_frames_of(time_steps, "rgb", n_frames=7))


def test_a_stack_lies_around_its_moment_and_within_the_clip():
    time_steps = np.array([0, 7, 18])
    stacks = flow_frames_of(time_steps, "rgb_flow", n_frames=20, flow_frames=10).reshape(3, 10)
    assert stacks[1].tolist() == list(range(2, 12))  # from 5 before to 4 after, as in ST-ResNet
    assert stacks[0].tolist() == [0, 0, 0, 0, 0, 0, 1, 2, 3, 4]
    assert stacks[2].tolist() == [13, 14, 15, 16, 17, 18, 18, 18, 18, 18]
    assert flow_frames_of(time_steps, "rgb_flow", n_frames=20, flow_frames=1).tolist() == [0, 7, 18]
    assert flow_frames_of(np.array([0]), "rgb_flow", n_frames=1).tolist() == [0]


def test_frames_and_fields_are_laid_over_each_other_in_order():
    frames = np.arange(2 * 3, dtype=np.uint8).reshape(2, 1, 1, 3)
    flow_frames = np.arange(10, 10 + 2 * 2 * 2, dtype=np.uint8).reshape(4, 1, 1, 2)  # two time steps, L of 2
    seen = assemble(frames, flow_frames, "rgb_flow")
    assert seen.reshape(2, 7).tolist() == [[0, 1, 2, 10, 11, 12, 13], [3, 4, 5, 14, 15, 16, 17]]
    assert assemble(frames, flow_frames, "rgb") is frames
    assert assemble(frames, flow_frames, "flow") is flow_frames
    assert assemble(frames, flow_frames, "rgb_difference").ravel().tolist() == [3, 3, 3]


def test_differences_are_signed():
    frames = np.array([0, 255, 10, 255, 0, 13], dtype=np.uint8).reshape(6, 1, 1, 1)
    assert differences(frames).ravel().tolist() == [255, -255, 3]
    assert differences(frames).dtype == np.int16
