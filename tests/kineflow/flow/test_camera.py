"""The camera's motion, held to homographies that are exactly known."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kineflow.flow.camera import Camera, _plausible, estimate_camera, warp_to_first

HEIGHT, WIDTH = 96, 120
Frame = npt.NDArray[np.uint8]


def texture(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> Frame:
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(height, width)), (0, 0), 1.5)
    return np.clip(128 + 40 * noise / max(noise.std(), 1e-9), 0, 255).astype(np.uint8)


def flow_of(homography: npt.ArrayLike) -> npt.NDArray[np.float32]:
    return Camera(np.asarray(homography, np.float64), 0, 0).flow(HEIGHT, WIDTH)


def moved(first: Frame, homography: npt.ArrayLike) -> Frame:
    matrix = np.asarray(homography, np.float64)
    return cv2.warpPerspective(first, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def error_px(camera: Camera, homography: npt.ArrayLike) -> float:
    return float(np.hypot(*(camera.flow(HEIGHT, WIDTH) - flow_of(homography))).max())


PAN = [[1, 0, 3.0], [0, 1, -2.0], [0, 0, 1]]
ROLL = [[0.9998, -0.02, 1.0], [0.02, 0.9998, -1.0], [0, 0, 1]]
ZOOM = [[1.02, 0, -1.2], [0, 1.02, -0.96], [0, 0, 1]]
TILT = [[1.01, 0.005, 0.5], [0.002, 0.99, 1.5], [1e-4, -5e-5, 1]]


@pytest.mark.parametrize("homography", [PAN, ROLL, ZOOM, TILT])
def test_a_homography_is_found(homography: list[list[float]]) -> None:
    first = texture()
    camera = estimate_camera(first, moved(first, homography), flow_of(homography))
    assert camera.found
    assert camera.moves
    assert camera.inliers > 0.6 * camera.matches > 100
    assert error_px(camera, homography) < 0.15


def test_it_leads_from_the_first_frame_to_the_second() -> None:
    camera = Camera(np.array(PAN, np.float64), 0, 0)
    assert np.allclose(camera.flow(2, 3), np.array([3.0, -2.0])[:, None, None])


def test_features_find_what_the_flow_has_missed() -> None:
    pan = [[1, 0, 14.0], [0, 1, -9.0], [0, 0, 1]]
    first = texture(height=HEIGHT, width=WIDTH)
    camera = estimate_camera(first, moved(first, pan), np.random.default_rng(0).normal(0, 9, (2, HEIGHT, WIDTH)))
    assert error_px(camera, pan) < 1.0


def test_the_flow_finds_what_features_have_missed() -> None:
    first = texture(seed=1, height=60, width=62)  # too small for a feature
    camera = estimate_camera(first, first, np.full((2, 60, 62), 2.5, np.float32))
    assert np.allclose(camera.flow(60, 62), 2.5, atol=1e-3)


def test_what_moves_otherwise_is_outvoted() -> None:
    first, flow = texture(), flow_of(PAN)
    flow[:, 20:60, 30:80] = [[[-4.0]], [[3.0]]]
    assert error_px(estimate_camera(first, moved(first, PAN), flow), PAN) < 0.1


def test_what_moves_nearly_alike_does_not_draw_it_away() -> None:
    first, flow = texture(), flow_of(PAN)
    flow[0, 25:75, 40:90] += 0.9
    assert error_px(estimate_camera(first, moved(first, PAN), flow), PAN) < 0.1  # without refitting 0.25


def test_people_are_not_matched() -> None:
    first = texture()
    people = np.zeros((HEIGHT, WIDTH), bool)
    people[:, 30:] = True
    flow = np.where(people, flow_of([[1, 0, -5.0], [0, 1, 4.0], [0, 0, 1]]), flow_of(PAN))
    second = np.where(people, moved(first, [[1, 0, -5.0], [0, 1, 4.0], [0, 0, 1]]), moved(first, PAN))
    without, with_mask = (estimate_camera(first, second, flow, exclude=mask) for mask in (None, people))
    assert with_mask.matches < 0.4 * without.matches
    assert error_px(without, PAN) > 3  # they are the majority
    assert np.abs(with_mask.flow(HEIGHT, WIDTH)[:, :, :28] - flow_of(PAN)[:, :, :28]).max() < 0.2


def test_a_frame_full_of_people_gives_no_camera() -> None:
    first = texture()
    camera = estimate_camera(first, first, flow_of(PAN), exclude=np.ones((HEIGHT, WIDTH), bool))
    assert (camera.found, camera.moves, camera.matches) == (False, False, 0)


def test_a_camera_that_stands_still_is_found_and_exactly_still() -> None:
    first = texture()
    camera = estimate_camera(first, first, np.full((2, HEIGHT, WIDTH), 0.01, np.float32))
    assert camera.found
    assert not camera.moves
    assert np.array_equal(camera.homography, np.eye(3))


@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_frames_have_no_camera(level: int) -> None:
    flat = np.full((HEIGHT, WIDTH), level, np.uint8)
    camera = estimate_camera(flat, flat, np.zeros((2, HEIGHT, WIDTH), np.float32))
    assert (camera.found, camera.moves, camera.matches, camera.inliers) == (False, False, 0, 0)


def dots(count: int) -> Frame:
    frame = np.zeros((60, 400), np.uint8)  # too low for features
    for n in range(count):
        row, column = divmod(n, 39)
        frame[10 + 20 * row : 14 + 20 * row, 8 + 10 * column : 9 + 10 * column] = 255
        frame[10 + 20 * row, 8 + 10 * column : 12 + 10 * column] = 255
    return frame


def test_more_than_fifty_matches_are_asked_for() -> None:
    flow = np.full((2, 60, 400), 1.5, np.float32)
    counts = {}
    for count in range(5, 60):
        camera = estimate_camera(dots(count), dots(count), flow)
        counts[camera.matches] = camera.found
    assert {found for matches, found in counts.items() if matches <= 50} == {False}
    assert {found for matches, found in counts.items() if matches > 50} == {True}


@pytest.mark.parametrize(("agreeing", "found"), [(7, False), (11, True)])
def test_more_than_twenty_five_inliers_are_asked_for(agreeing: int, found: bool) -> None:
    frame = dots(59)
    rng = np.random.default_rng(0)
    flow = np.zeros((2, 60, 400), np.float32)
    for place, n in enumerate(rng.permutation(59)):
        row, column = divmod(int(n), 39)
        shift = (3.0, 1.0) if place < agreeing else rng.uniform(-8, 8, 2)
        flow[:, 8 + 20 * row : 26 + 20 * row, 6 + 10 * column : 15 + 10 * column] = np.reshape(shift, (2, 1, 1))
    camera = estimate_camera(frame, frame, flow)
    assert camera.matches > 50
    assert camera.found == found


def test_matches_that_leave_the_frame_do_not_count() -> None:
    first = texture(height=60, width=240)
    flow = np.zeros((2, 60, 240), np.float32)
    inside = estimate_camera(first, first, flow).matches
    flow[0, :, :120] = -300
    flow[1, :30, 120:] = 61
    assert estimate_camera(first, first, flow).matches < 0.4 * inside


def test_flow_that_is_not_finite_does_not_count() -> None:
    first, flow = texture(), flow_of(PAN)
    flow[:, ::2], flow[:, 1::4] = np.nan, np.inf
    camera = estimate_camera(first, moved(first, PAN), flow)
    assert np.isfinite(camera.homography).all()
    assert error_px(camera, PAN) < 0.3


def scaled(x: float, y: float) -> list[list[float]]:
    return [[x, 0, 0], [0, y, 0], [0, 0, 1]]


HORIZON = [[1, 0, 0], [0, 1, 0], [-0.0203, 0, 1]]  # its middle columns lie infinitely far away
SHEARED = [[1, 2, 0], [0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize("homography", [np.eye(3), PAN, ROLL, ZOOM, TILT, scaled(1.9, 0.6), 5 * np.array(TILT)])
def test_what_a_camera_does_is_plausible(homography: npt.ArrayLike) -> None:
    assert _plausible(np.asarray(homography, np.float64), HEIGHT, WIDTH)


@pytest.mark.parametrize(
    "homography",
    [scaled(-1, 1), scaled(1, 0.4), scaled(2.1, 1), HORIZON, SHEARED, scaled(np.nan, 1), np.zeros((3, 3))],
)
def test_what_no_camera_does_is_not(homography: npt.ArrayLike) -> None:
    assert not _plausible(np.asarray(homography, np.float64), HEIGHT, WIDTH)


@pytest.mark.parametrize(
    "homography", [[[0.3, 0, 40.0], [0, 0.3, 30.0], [0, 0, 1]], [[1, 0, 0], [0, 0.3, 30.0], [0, 0, 1]]]
)
def test_what_is_not_plausible_is_refused(homography: list[list[float]]) -> None:
    camera = estimate_camera(texture(), texture(seed=9), flow_of(homography))
    assert camera.matches > 50
    assert not camera.found
    assert not camera.moves


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (2, 2), (15, 31), (62, 63), (63, 63), (63, 700)])
def test_any_size(size: tuple[int, int]) -> None:
    first, second = texture(height=size[0], width=size[1]), texture(seed=1, height=size[0], width=size[1])
    camera = estimate_camera(first, second, np.zeros((2, *size), np.float32))
    assert np.isfinite(camera.homography).all()
    assert warp_to_first(second, camera.homography, first).shape == size


def test_threads_and_global_random_state_do_not_matter() -> None:
    first = texture()
    flow = flow_of(ROLL) + np.random.default_rng(0).normal(0, 1, (2, HEIGHT, WIDTH)).astype(np.float32)
    second = moved(first, ROLL)

    def look(seed: int) -> tuple[bytes, int, int]:
        cv2.setRNGSeed(seed)
        camera = estimate_camera(first, second, flow)
        return camera.homography.tobytes(), camera.matches, camera.inliers

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(look, range(24)))) == 1


@settings(max_examples=20, deadline=None)
@given(dx=st.integers(-40, 40), dy=st.integers(-40, 40), seed=st.integers(0, 99))
def test_a_whole_pan_is_undone_exactly_and_the_rest_is_the_first_frame(dx: int, dy: int, seed: int) -> None:
    world = texture(seed, HEIGHT + 100, WIDTH + 100)
    other = texture(seed + 1)
    second = world[50 : 50 + HEIGHT, 50 : 50 + WIDTH]
    still = world[50 + dy : 50 + dy + HEIGHT, 50 + dx : 50 + dx + WIDTH]  # second(x + d)
    warped = warp_to_first(second, np.array([[1.0, 0, dx], [0, 1, dy], [0, 0, 1]]), other)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    seen = (x + dx >= 5) & (x + dx < WIDTH - 5) & (y + dy >= 5) & (y + dy < HEIGHT - 5)
    assert np.array_equal(warped, np.where(seen, still, other))
