import numpy as np

from kineflow.data.modality import channels_of, differences, reads_flow, sources


def test_flow_is_read_from_a_flow_set_and_has_two_channels():
    assert [reads_flow(m) for m in ("rgb", "rgb_difference", "flow", "warped_flow")] == [False, False, True, True]
    assert [channels_of(m) for m in ("rgb", "rgb_difference", "flow", "warped_flow")] == [3, 3, 2, 2]


def test_a_difference_needs_the_next_frame_and_the_last_has_none():
    moments = np.array([3, 4, 5])
    assert sources(moments, "rgb_difference", n_frames=6).tolist() == [3, 4, 5, 4, 5, 5]
    for modality in ("rgb", "flow", "warped_flow"):
        assert sources(moments, modality, n_frames=6).tolist() == [3, 4, 5]


def test_differences_are_signed():
    frames = np.array([0, 255, 10, 255, 0, 13], dtype=np.uint8).reshape(6, 1, 1, 1)
    assert differences(frames).ravel().tolist() == [255, -255, 3]
    assert differences(frames).dtype == np.int16
