from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kineflow.models.scale import channels_at, late_strides, require_probability, require_side
from kineflow.storage.errors import KineflowError


@given(st.integers(1, 4096), st.floats(0.001, 16))
def test_channels_are_the_nearest_multiple_of_eight_and_at_least_eight(channels: int, width: float) -> None:
    scaled = channels_at(width)(channels)
    assert scaled % 8 == 0
    assert scaled >= 8
    assert scaled == 8 or abs(scaled - channels * width) <= 4


def test_the_paper_s_channels_stay() -> None:
    assert [channels_at(1.0)(channels) for channels in (16, 24, 64, 352, 4096)] == [16, 24, 64, 352, 4096]


@pytest.mark.parametrize(("output_stride", "strides"), [(32, (2, 2)), (16, (2, 1)), (8, (1, 1))])
def test_the_last_halving_goes_first(output_stride: int, strides: tuple[int, int]) -> None:
    assert late_strides(output_stride) == strides


def test_what_is_out_of_range_is_named() -> None:
    with pytest.raises(KineflowError, match=r"output_stride .* 8, 16 or 32, not 4"):
        late_strides(4)
    with pytest.raises(KineflowError, match="width"):
        channels_at(-1.0)
    with pytest.raises(KineflowError, match="dropout_fc6"):
        require_probability("dropout_fc6", 1.0)


def test_sides_are_measured_both_ways() -> None:
    require_side(torch.zeros(1, 3, 32, 32), 32)
    for height, width in ((31, 40), (40, 31)):
        with pytest.raises(KineflowError, match=f"{width}x{height} px .*(.|\n)*at least 32 px"):
            require_side(torch.zeros(1, 3, height, width), 32)
