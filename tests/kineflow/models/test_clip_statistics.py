import torch

from kineflow.models.clip_statistics import (
    DIRECTION_STATISTICS,
    FLOW_STATISTICS,
    MOTION_STATISTICS,
    direction_statistics,
    flow_statistics,
    motion_statistics,
)


def moving(*, speed: float = 1.0, frames: int = 8) -> torch.Tensor:
    """A bright square that crosses the picture, [1,T,24,24]."""
    clip = torch.full((1, frames, 24, 24), 0.2)
    for step in range(frames):
        left = int(step * speed)
        clip[0, step, 8:14, left : left + 6] = 0.9
    return clip


def flow_of(u: float, v: float) -> torch.Tensor:
    """A square that moves by (u, v) before a still ground, [1,2,6,16,16]."""
    flow = torch.zeros(1, 2, 6, 16, 16)
    flow[:, 0, :, 4:9, 4:9], flow[:, 1, :, 4:9, 4:9] = u, v
    return flow


def test_there_are_as_many_as_is_said():
    assert motion_statistics(moving()).shape == (1, MOTION_STATISTICS)
    assert flow_statistics(flow_of(0.3, 0.1)).shape == (1, FLOW_STATISTICS)
    assert direction_statistics(flow_of(0.3, 0.1)).shape == (1, DIRECTION_STATISTICS)


def test_a_still_clip_has_the_least_of_every_amount_and_more_motion_more():
    still, slow, fast = (motion_statistics(clip)[0] for clip in (moving(speed=0), moving(speed=1), moving(speed=2)))
    assert (still <= slow + 1e-6).all()
    assert slow[0] < fast[0]


def test_what_moves_as_a_whole_is_taken_away():
    still = flow_statistics(torch.zeros(1, 2, 6, 16, 16))
    panned = flow_statistics(torch.full((1, 2, 6, 16, 16), 0.2))
    speeds = slice(0, 6)
    torch.testing.assert_close(panned[:, speeds], still[:, speeds])
    assert not torch.allclose(panned, still)


def test_a_mirror_changes_where_things_move_and_not_how():
    right, left = flow_of(0.3, 0.0), flow_of(-0.3, 0.0)
    torch.testing.assert_close(flow_statistics(right), flow_statistics(left), rtol=1e-4, atol=1e-4)
    assert (direction_statistics(right) - direction_statistics(left)).abs().max() > 0.5


def test_clips_of_a_batch_do_not_see_each_other():
    first, second = flow_of(0.3, 0.1), flow_of(-0.1, 0.4)
    for statistics in (flow_statistics, direction_statistics):
        torch.testing.assert_close(
            statistics(torch.cat([first, second])), torch.cat([statistics(first), statistics(second)])
        )
