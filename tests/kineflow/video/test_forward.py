from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from kineflow.video.decode import read_frames
from kineflow.video.encode import write_video
from kineflow.video.forward import TimedFrame, at_rate, stated_fps, timed_frames
from kineflow.video.opening import open_video
from kineflow.video.resample import numbers_at
from kineflow.video.timeline import Timeline


def test_frames_and_times_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    images = [np.full((48, 64, 3), level, np.uint8) for level in range(40, 240, 10)]
    write_video(path, images, fps=Fraction(30000, 1001))
    with open_video(path) as (container, stream):
        assert stated_fps(stream) == pytest.approx(29.97, abs=0.001)
        frames = list(timed_frames(container, stream))
    np.testing.assert_array_equal([frame.image for frame in frames], read_frames(path))
    np.testing.assert_allclose([frame.sec for frame in frames], np.arange(20) * 1001 / 30000, atol=1e-4)


@pytest.mark.parametrize("fps", [1.0, 2.0, 7.0, 10.0, 12.5, 25.0, 29.97, 60.0])
@pytest.mark.parametrize("frames", [1, 2, 31, 100])
def test_another_rate_takes_the_frames_that_ingesting_takes(fps: float, frames: int) -> None:
    source = Timeline(frames, 25.0)
    numbered = [TimedFrame(number / 25, np.array([number], np.uint8)) for number in range(frames)]
    taken = list(at_rate(numbered, fps, 1 / 25))
    assert [int(frame.image[0]) for frame in taken] == numbers_at(source, 0, frames, fps).tolist()
    np.testing.assert_allclose([frame.sec for frame in taken], np.arange(len(taken)) / fps)
