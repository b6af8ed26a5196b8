"""What actors and scenes look like: random palettes, band-limited textures and smooth outlines.

Looks are drawn before and without the class of a clip, so they say nothing of its motion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kineflow.spec.arrays import Floats
from kineflow.synth.scalar_math import of_each

OVERSAMPLING = 4  # texture samples per pixel: linear interpolation between them then neither shifts nor blurs
BLOB_BULGE = 0.2  # an outline's radius stays within 1 ± this

_BLOB_HARMONICS = np.arange(2, 6)


@dataclass(frozen=True)
class Palette:
    """Colours of a texture.

    Attributes:
        mean: Mean of each channel in 0..255, float64 [3].
        contrast: Standard deviation of the luminance, in grey levels.
    """

    mean: npt.NDArray[np.float64]
    contrast: float

    def towards(self, other: Palette, share: float) -> Palette:
        """This palette mixed with ``share`` of another: 0 leaves it as it is, 1 gives the other."""
        keep = 1 - share
        return Palette(keep * self.mean + share * other.mean, keep * self.contrast + share * other.contrast)


def draw_palette(rng: np.random.Generator) -> Palette:
    """A random palette, with contrast enough for optical flow."""
    return Palette(rng.uniform(80, 175, 3), rng.uniform(28, 45))


@dataclass(frozen=True)
class Blob:
    """A smooth closed outline: radius 1 + Σ aₖ cos(kφ + ψₖ) over the angle φ, k = 2 … 5.

    Attributes:
        amplitudes: aₖ, float64 [4]; their magnitudes sum to at most ``BLOB_BULGE``.
        phases: ψₖ, float64 [4], radians.
    """

    amplitudes: npt.NDArray[np.float64]
    phases: npt.NDArray[np.float64]

    def contains(self, x: Floats, y: Floats) -> npt.NDArray[np.bool_]:
        """Whether points, in units of the mean radius, lie inside the outline; same shape as ``x``."""
        distance = np.sqrt(x * x + y * y)
        inside = distance <= 1 - BLOB_BULGE
        doubtful = ~inside & (distance <= 1 + BLOB_BULGE)
        inside[doubtful] = distance[doubtful] <= self._radius(*(axis[doubtful] / distance[doubtful] for axis in (x, y)))
        return inside

    def _radius(self, cos: Floats, sin: Floats) -> Floats:
        """The outline's radius in directions that are given by the cosine and the sine of φ."""
        radius, cos_k, sin_k = np.ones_like(cos), cos, sin
        for amplitude, phase in zip(self.amplitudes.tolist(), self.phases.tolist(), strict=True):
            cos_k, sin_k = cos_k * cos - sin_k * sin, sin_k * cos + cos_k * sin
            radius += amplitude * (cos_k * math.cos(phase) - sin_k * math.sin(phase))
        return radius


def draw_blob(rng: np.random.Generator) -> Blob:
    """A random outline."""
    weights = rng.uniform(-1, 1, _BLOB_HARMONICS.size) / _BLOB_HARMONICS
    amplitudes = weights / np.abs(weights).sum() * rng.uniform(0.5, 1) * BLOB_BULGE
    return Blob(amplitudes, rng.uniform(0, 2 * math.pi, _BLOB_HARMONICS.size))


def draw_texture(
    rng: np.random.Generator, palette: Palette, period_px: int, *, sigmas_px: Sequence[float] = (2.0, 4.0)
) -> npt.NDArray[np.float32]:
    """A random colour texture that tiles the plane: Gaussian-filtered noise of several scales.

    All channels share a strong luminance pattern; each adds a weaker one of its own.

    Args:
        rng: Source of all randomness.
        palette: Mean colour and contrast.
        period_px: Side of the tile, in pixels.
        sigmas_px: Standard deviations of the filters, in pixels; the smallest bounds the band.

    Returns:
        float32 [S, S, 3] in 0..255 with S = ``period_px`` × ``OVERSAMPLING`` samples.
    """
    size = period_px * OVERSAMPLING
    luminance, *colour = (_filtered_noise(rng, size, sigmas_px) for _ in range(4))
    channels = [
        mean + palette.contrast * (0.9 * luminance + 0.45 * own) for mean, own in zip(palette.mean, colour, strict=True)
    ]
    return np.asarray(np.clip(np.stack(channels, axis=-1), 0, 255), np.float32)


def _filtered_noise(rng: np.random.Generator, size: int, sigmas_px: Sequence[float]) -> npt.NDArray[np.float32]:
    """Periodic noise [size, size], mean 0 and standard deviation 1; every scale contributes a random share."""
    spectrum = np.fft.rfft2(rng.standard_normal((size, size), dtype=np.float32))
    fy, fx = np.fft.fftfreq(size), np.fft.rfftfreq(size)
    gain = np.zeros(spectrum.shape)
    for sigma_px, share in zip(sigmas_px, rng.uniform(0.5, 1.0, len(sigmas_px)), strict=True):
        sigma = sigma_px * OVERSAMPLING
        of_y, of_x = (of_each(math.exp, -0.5 * (2 * math.pi * sigma * axis) ** 2) for axis in (fy, fx))
        gain += share * sigma * of_y[:, None] * of_x  # times sigma: equal variance at every scale
    gain[0, 0] = 0.0
    noise = np.fft.irfft2(spectrum * gain, s=(size, size))
    return np.asarray(noise / noise.std(), np.float32)
