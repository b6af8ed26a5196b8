"""What a group looks like, and where actor and camera are in every frame, so drawn that no frame tells the class.

Looks belong to the group, and every group shows every class. As for poses, every class draws from the same
distributions, and those are closed under its motion:

* position: uniform on a torus of the image's size, and so it stays under any translation;
* orientation: uniform over the circle, and so it stays under any rotation;
* size: a growing actor's log size runs over ``middle + growth × τ``; an actor that neither grows nor shrinks keeps
  one size, drawn as that of a growing or shrinking one in a random frame. A frame drawn at random thus carries
  nothing. (A frame known to be the first or the last tells a little of growing and shrinking; no bounded size that
  grows can avoid that.)

The camera moves at a constant velocity, drawn alike for every class.
"""

from __future__ import annotations

import math

import numpy as np

from kineflow.spec.arrays import Floats
from kineflow.synth.motions import Motion, MotionParams, clip_times
from kineflow.synth.render import Look
from kineflow.synth.scalar_math import of_each
from kineflow.synth.spec import SIZE_SPREAD, SynthSpec
from kineflow.synth.textures import draw_blob, draw_palette, draw_texture


def draw_look(spec: SynthSpec, rng: np.random.Generator) -> Look:
    """Actor and scene of one group."""
    of_actor = draw_palette(rng)
    of_scene = draw_palette(rng).towards(of_actor, spec.camouflage)
    return Look(
        actor=draw_texture(rng, of_actor, spec.size_px),
        outline=draw_blob(rng),
        radius_px=spec.radius_px,
        scene=draw_texture(rng, of_scene, 2 * spec.size_px),
    )


def draw_poses(motion: Motion, spec: SynthSpec, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Poses of actor and scene: affines to the image, float64 [T, 2, 3] each."""
    return _draw_actor(motion, spec, rng), _draw_scene(spec, rng)


def _draw_actor(motion: Motion, spec: SynthSpec, rng: np.random.Generator) -> Floats:
    tau = clip_times(spec.frames)
    growth = rng.uniform(*spec.growth)
    middle = rng.uniform(-SIZE_SPREAD, SIZE_SPREAD)
    lasting = middle + growth * rng.choice(tau) * rng.choice((-1, 1))
    log_scale = middle if motion.scales else lasting
    speed_px = rng.uniform(*spec.speed_px)
    params = MotionParams(
        speed_px=speed_px,
        turn_rad=speed_px / (spec.radius_px * math.exp(log_scale)),
        growth=growth,
        heading_rad=rng.uniform(0, 2 * math.pi),
        phase_rad=rng.uniform(0, 2 * math.pi),
        half_clip_frames=(spec.frames - 1) / 2,
    )
    centre_x, centre_y = rng.uniform(0, spec.size_px, 2)
    orientation = rng.uniform(0, 2 * math.pi)
    path = motion.path(tau, params)
    return affines(
        x=centre_x + path.dx,
        y=centre_y + path.dy,
        angle=orientation + path.angle,
        scale=of_each(math.exp, log_scale + path.log_scale),
    )


def _draw_scene(spec: SynthSpec, rng: np.random.Generator) -> Floats:
    tau = clip_times(spec.frames)
    speed = rng.uniform(0, spec.camera_px)
    heading = rng.uniform(0, 2 * math.pi)
    # The scene's texture tiles with a period of at least two images; any offset shows another part of it.
    x0, y0 = rng.uniform(0, 2 * spec.size_px, 2)
    still = np.zeros_like(tau)
    return affines(
        x=x0 + speed * math.cos(heading) * tau, y=y0 + speed * math.sin(heading) * tau, angle=still, scale=still + 1
    )


def affines(*, x: Floats, y: Floats, angle: Floats, scale: Floats) -> Floats:
    """Similarities that scale, turn clockwise (y points down) and then move by (x, y); float64 [T, 2, 3]."""
    cos, sin = scale * of_each(math.cos, angle), scale * of_each(math.sin, angle)
    return np.stack([np.stack([cos, -sin, x], axis=-1), np.stack([sin, cos, y], axis=-1)], axis=-2)
