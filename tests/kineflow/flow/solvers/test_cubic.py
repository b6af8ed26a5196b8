"""Bicubic sampling, held to OpenCV's remap and to the image itself."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from kineflow.flow.solvers.cubic import CubicSampler
from kineflow.spec.tvl1 import Border

CATMULL_ROM = -0.5


def _images_and_flow(size: tuple[int, int], reach_px: float = 4.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, *size, generator=generator) * 255
    return images, (torch.rand(2, 2, *size, generator=generator) - 0.5) * 2 * reach_px


def test_matches_opencv() -> None:
    images, flow = _images_and_flow((21, 30))
    ours = CubicSampler(images, sharpness=-0.75, border="zeros").at(flow)
    y, x = np.mgrid[:21, :30].astype(np.float32)
    for n in range(2):
        u, v = flow[n].numpy()
        for c in range(3):
            expected = cv2.remap(images[n, c].numpy(), x + u, y + v, cv2.INTER_CUBIC, borderValue=0)
            np.testing.assert_allclose(ours[n, c].numpy(), expected, atol=0.02)


@pytest.mark.parametrize("border", ["zeros", "clamp"])
@pytest.mark.parametrize("sharpness", [-0.75, CATMULL_ROM])
@pytest.mark.parametrize("size", [(21, 30), (64, 64), (1, 1), (2, 7)])
def test_standing_still_gives_the_image_to_the_last_bit(
    size: tuple[int, int], sharpness: float, border: Border
) -> None:
    images, flow = _images_and_flow(size, reach_px=0)
    assert torch.equal(CubicSampler(images, sharpness=sharpness, border=border).at(flow), images)


@pytest.mark.parametrize("border", ["zeros", "clamp"])
def test_both_ways_of_sampling_agree(border: Border) -> None:
    images, flow = _images_and_flow((21, 30))
    by_grid = CubicSampler(images, sharpness=-0.75, border=border).at(flow)
    by_taps = CubicSampler(images, sharpness=-0.7500001, border=border).at(flow)
    torch.testing.assert_close(by_grid, by_taps, atol=0.01, rtol=0)


@pytest.mark.parametrize("sharpness", [-0.75, CATMULL_ROM])
def test_clamp_sees_the_nearest_pixel(sharpness: float) -> None:
    images, flow = _images_and_flow((9, 12), reach_px=30)
    margin = 40
    padded = functional.pad(images, (margin,) * 4, mode="replicate")
    wide_flow = functional.pad(flow, (margin,) * 4)
    expected = CubicSampler(padded, sharpness=sharpness, border="zeros").at(wide_flow)
    ours = CubicSampler(images, sharpness=sharpness, border="clamp").at(flow)
    torch.testing.assert_close(ours, expected[..., margin:-margin, margin:-margin], atol=0.02, rtol=0)


def test_far_outside_is_zero() -> None:
    images, flow = _images_and_flow((9, 12), reach_px=0)
    for sharpness in (-0.75, CATMULL_ROM):
        assert not CubicSampler(images, sharpness=sharpness, border="zeros").at(flow + 1e6).any()


def test_catmull_rom_keeps_a_ramp() -> None:
    ramp = torch.arange(20.0).expand(1, 1, 20, 20)
    flow = torch.full((1, 2, 20, 20), 0.37)
    sampled = CubicSampler(ramp, sharpness=CATMULL_ROM, border="clamp").at(flow)
    torch.testing.assert_close(sampled[..., 2:-3], (ramp + 0.37)[..., 2:-3])
