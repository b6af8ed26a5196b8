"""Flow as colour: hue is direction, saturation is speed (Baker et al., IJCV 2011, "A Database … for Optical Flow")."""

from __future__ import annotations

import numpy as np

# Steps from each of the wheel's colours to the next: red, yellow, green, cyan, blue, magenta, and back to red.
_STEPS = (15, 6, 4, 11, 13, 6)
_CORNERS = ((255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 255, 255), (0, 0, 255), (255, 0, 255), (255, 0, 0))


def flow_to_rgb(flow: np.ndarray, max_px: float | None = None) -> np.ndarray:
    """Colour flow by the Middlebury wheel: white stands still, red moves right, faster is more saturated.

    Args:
        flow: float [..., 2] in pixels, u then v.
        max_px: Speed of full saturation, above 0; faster is darkened. By default the fastest of ``flow``.

    Returns:
        uint8 [..., 3] RGB; black where the flow is not finite.
    """
    known = np.isfinite(flow).all(axis=-1)
    u, v = np.moveaxis(np.where(known[..., None], flow, 0).astype(np.float64), -1, 0)
    speed = np.hypot(u, v)
    speed /= max_px or max(speed.max(initial=0), np.finfo(np.float32).tiny)

    wheel = _colour_wheel()
    hue_index = (np.arctan2(-v, -u) / np.pi + 1) / 2 * (len(wheel) - 1)
    before = np.floor(hue_index).astype(np.int64)
    part = (hue_index - before)[..., None]
    hue = (1 - part) * wheel[before] + part * wheel[(before + 1) % len(wheel)]

    speed = speed[..., None]
    colour = np.where(speed <= 1, 1 - speed * (1 - hue), 0.75 * hue)
    return np.where(known[..., None], np.floor(255 * colour), 0).astype(np.uint8)


def _colour_wheel() -> np.ndarray:
    """float [55, 3] in 0..1, red first."""
    parts = [np.linspace(_CORNERS[i], _CORNERS[i + 1], steps, endpoint=False) for i, steps in enumerate(_STEPS)]
    return np.floor(np.concatenate(parts)) / 255
