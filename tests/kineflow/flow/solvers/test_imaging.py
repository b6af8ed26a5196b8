"""The image operations, held to OpenCV's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from kineflow.flow.solvers.imaging import central_gradient, gaussian_blur, median_filter, resize_bilinear

SIZES = [(40, 53), (17, 16), (3, 2), (1, 5), (1, 1)]


def _image(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random(size) * 255).astype(np.float32)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("window", [3, 5])
def test_median_is_opencvs(size: tuple[int, int], window: int) -> None:
    image = _image(size)
    ours = median_filter(torch.from_numpy(image)[None, None], window)[0, 0].numpy()
    np.testing.assert_array_equal(ours, cv2.medianBlur(image, window).reshape(size))


def test_median_of_any_odd_window() -> None:
    image = _image((9, 9))
    ours = median_filter(torch.from_numpy(image)[None, None], 7)[0, 0].numpy()
    assert ours[4, 4] == np.median(image[1:8, 1:8])


@pytest.mark.parametrize("size", [(40, 53), (17, 16), (5, 4)])
def test_shrinking_is_opencvs(size: tuple[int, int]) -> None:
    image = _image(size)
    expected = cv2.resize(image, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_LINEAR)
    target = tuple(round(side * 0.8) for side in size)
    ours = resize_bilinear(torch.from_numpy(image), target, step_px=(1.25, 1.25)).numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-3)


@pytest.mark.parametrize("target", [(50, 70), (41, 53), (7, 9)])
def test_resizing_to_a_size_is_opencvs(target: tuple[int, int]) -> None:
    image = _image((40, 53))
    expected = cv2.resize(image, target[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(resize_bilinear(torch.from_numpy(image), target).numpy(), expected, atol=1e-3)


def test_gaussian_is_opencvs() -> None:
    image = _image((30, 41))
    expected = cv2.GaussianBlur(image, (9, 9), 0.9, borderType=cv2.BORDER_REPLICATE)
    ours = gaussian_blur(torch.from_numpy(image)[None, None], 0.9)[0, 0].numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-2)


@pytest.mark.parametrize("size", SIZES)
def test_gradient_is_half_the_difference_of_replicated_neighbours(size: tuple[int, int]) -> None:
    image = _image(size)
    along_x, along_y = (part.numpy() for part in central_gradient(torch.from_numpy(image)))
    padded = np.pad(image, 1, mode="edge")
    np.testing.assert_allclose(along_x, (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2, atol=1e-4)
    np.testing.assert_allclose(along_y, (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2, atol=1e-4)
