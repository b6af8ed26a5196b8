import numpy as np
import pytest

from kineflow.synth.textures import BLOB_BULGE, OVERSAMPLING, Palette, draw_blob, draw_palette, draw_texture

PALETTE = Palette(np.array([100.0, 120.0, 150.0]), 30.0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_texture_is_a_colour_tile_in_range(rng: np.random.Generator) -> None:
    texture = draw_texture(rng, PALETTE, 48)
    assert texture.shape == (48 * OVERSAMPLING, 48 * OVERSAMPLING, 3)
    assert texture.dtype == np.float32
    assert texture.min() >= 0
    assert texture.max() <= 255
    assert texture.std(axis=(0, 1)).min() > 15  # enough contrast for flow
    assert np.abs(texture[..., 0] - texture[..., 1]).mean() > 3  # not grey


def test_texture_has_the_colours_of_its_palette(rng: np.random.Generator) -> None:
    texture = draw_texture(rng, PALETTE, 64)
    np.testing.assert_allclose(texture.mean(axis=(0, 1)), PALETTE.mean, atol=1)
    np.testing.assert_allclose(texture.std(axis=(0, 1)), PALETTE.contrast, rtol=0.15)


def test_palettes_mix(rng: np.random.Generator) -> None:
    one, other = draw_palette(rng), draw_palette(rng)
    for share in (0.0, 0.25, 1.0):
        mixed = one.towards(other, share)
        np.testing.assert_allclose(mixed.mean, (1 - share) * one.mean + share * other.mean)
        assert mixed.contrast == pytest.approx((1 - share) * one.contrast + share * other.contrast)


def test_texture_tiles_without_a_seam(rng: np.random.Generator) -> None:
    texture = draw_texture(rng, PALETTE, 64)
    inner = np.abs(np.diff(texture, axis=0)).mean()
    seam = np.abs(texture[0] - texture[-1]).mean()
    assert seam < 1.5 * inner


def test_texture_is_band_limited_below_what_shrinking_needs(rng: np.random.Generator) -> None:
    texture = draw_texture(rng, PALETTE, 64)
    power = np.abs(np.fft.fft2(texture.mean(axis=-1) - texture.mean())) ** 2
    cycles_per_px = np.abs(np.fft.fftfreq(64 * OVERSAMPLING)) * OVERSAMPLING
    # At half size a frequency doubles: nothing may lie above a quarter cycle a pixel.
    fine = np.maximum(cycles_per_px[:, None], cycles_per_px[None, :]) > 0.25
    assert power[fine].sum() < 1e-2 * power.sum()


def test_textures_are_drawn_from_the_generator() -> None:
    first, again, other = (draw_texture(np.random.default_rng(seed), PALETTE, 16) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 1


def test_outline_stays_within_its_bulge_and_is_no_circle(rng: np.random.Generator) -> None:
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    rounder = 0
    for _ in range(20):
        blob = draw_blob(rng)

        def inside(radius: float, blob=blob) -> np.ndarray:
            return blob.contains(radius * np.cos(angle), radius * np.sin(angle))

        assert inside(1 - BLOB_BULGE - 1e-9).all()
        assert not inside(1 + BLOB_BULGE + 1e-9).any()
        rounder += inside(1.0).all() or not inside(1.0).any()
    assert rounder == 0


def test_outline_keeps_the_shape_of_its_points(rng: np.random.Generator) -> None:
    blob = draw_blob(rng)
    x, y = rng.uniform(-1.5, 1.5, (2, 7, 5))
    grid = blob.contains(x, y)
    assert grid.shape == (7, 5)
    singly = [blob.contains(np.array([a]), np.array([b]))[0] for a, b in zip(x.ravel(), y.ravel(), strict=True)]
    np.testing.assert_array_equal(grid.ravel(), singly)
