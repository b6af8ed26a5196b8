"""Draws one clip: a textured actor over a textured scene, each under its own motion."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from kineflow.spec.arrays import Floats
from kineflow.synth.textures import OVERSAMPLING, Blob
from kineflow.synth.truth import Truth, pixel_grid, wrap


@dataclass(frozen=True)
class Look:
    """What is drawn.

    Attributes:
        actor: Texture of the actor, float32 [S, S, 3] in 0..255, that tiles its plane.
        outline: Shape of the actor.
        radius_px: Mean radius of the actor at scale 1.
        scene: Texture of the scene, float32 [S', S', 3] in 0..255, that tiles its plane.
    """

    actor: npt.NDArray[np.float32]
    outline: Blob
    radius_px: float
    scene: npt.NDArray[np.float32]


def render_clip(
    look: Look, actor: Floats, scene: Floats, *, size_px: int, noise_levels: float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], Truth]:
    """Draw a clip.

    Args:
        look: Textures and outline.
        actor: Affines from the actor's coordinates (pixels, origin in its middle) to the image, float64 [T, 2, 3].
        scene: Affines from the scene's coordinates to the image, float64 [T, 2, 3].
        size_px: Height and width of the clip. The actor lives on a torus of this period and must be smaller.
        noise_levels: Standard deviation of the sensor's noise, in grey levels.
        rng: Source of the noise.

    Returns:
        Frames, uint8 [T, H, W, 3] RGB, and the exact truth.
    """
    x, y = pixel_grid(size_px, size_px)
    frames = np.empty((len(actor), size_px, size_px, 3), np.float32)
    mask = np.empty(frames.shape[:3], bool)
    for t, (actor_pose, scene_pose) in enumerate(zip(actor, scene, strict=True)):
        own_x, own_y = _to_own(
            actor_pose[:, :2], wrap(x - actor_pose[0, 2], size_px), wrap(y - actor_pose[1, 2], size_px)
        )
        mask[t] = look.outline.contains(own_x / look.radius_px, own_y / look.radius_px)
        background = _sample(look.scene, *_to_own(scene_pose[:, :2], x - scene_pose[0, 2], y - scene_pose[1, 2]))
        frames[t] = np.where(mask[t][..., None], _sample(look.actor, own_x, own_y), background)
    if noise_levels > 0:
        frames += noise_levels * rng.standard_normal(frames.shape, dtype=np.float32)
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8), Truth(actor, scene, mask)


def _to_own(linear: Floats, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Undo the linear part of a pose for offsets from its centre."""
    (a, b), (c, d) = linear
    area = a * d - b * c
    return (d * x - b * y) / area, (a * y - c * x) / area


def _sample(texture: npt.NDArray[np.float32], x: Floats, y: Floats) -> npt.NDArray[np.float32]:
    """Colours of a tiling texture at points in pixels, linear between its samples; [..., 3]."""
    period = len(texture) / OVERSAMPLING
    columns, rows = (((axis - period * np.floor(axis / period)) * OVERSAMPLING).astype(np.float32) for axis in (x, y))
    sampled = cv2.remap(texture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.asarray(sampled, np.float32)
