"""What an actor can do: every class of the benchmark is one of these paths through poses.

A path is a pure function of time and of a few drawn figures. Time τ counts frames from the middle of the clip, so
that every path passes through its drawn pose in the middle and a clip played backwards is the path at -τ. The classes
come in pairs that playing backwards exchanges (``reverse`` of :class:`Motion`); a few are their own reverse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from kineflow.spec.arrays import Floats
from kineflow.storage.errors import KineflowError
from kineflow.synth.scalar_math import of_each

OSCILLATION_FRAMES = 8.0  # one period of the oscillating classes
SPEED_CHANGE = 0.8  # the accelerating classes go from (1 - this) to (1 + this) times their mean speed


@dataclass(frozen=True)
class MotionParams:
    """The drawn figures; each class uses those it needs.

    Attributes:
        speed_px: Speed of translation, pixels per frame.
        turn_rad: Angle of rotation per frame, radians.
        growth: Change of log size per frame.
        heading_rad: Direction of motions whose class does not fix one.
        phase_rad: Phase of the oscillations.
        half_clip_frames: Half the length of the clip, in frames.
    """

    speed_px: float
    turn_rad: float
    growth: float
    heading_rad: float
    phase_rad: float
    half_clip_frames: float


@dataclass(frozen=True)
class Path:
    """Pose of the actor relative to its pose in the middle of the clip; four arrays, one value per frame.

    Attributes:
        dx, dy: Displacement in pixels; x points right and y down.
        angle: Rotation in radians, clockwise as seen in the image.
        log_scale: Natural logarithm of the magnification.
    """

    dx: Floats
    dy: Floats
    angle: Floats
    log_scale: Floats


@dataclass(frozen=True)
class Motion:
    """One class.

    Attributes:
        name: Class name.
        path: From τ (float64 [T], frames since the middle of the clip) and the drawn figures to the path.
        reverse: Name of the class that a clip of this one shows when played backwards.
        scales: Whether the actor's size changes.
    """

    name: str
    path: Callable[[Floats, MotionParams], Path]
    reverse: str
    scales: bool = False


def clip_times(frames: int) -> Floats:
    """τ of every frame, float64 [T]: -(T-1)/2 … (T-1)/2."""
    return np.arange(frames, dtype=np.float64) - (frames - 1) / 2


def find_motion(name: str) -> Motion:
    """The motion called ``name``.

    Raises:
        KineflowError: There is none.
    """
    if name not in MOTIONS:
        raise KineflowError(f"no motion class {name!r}", remedy=f"choose among {', '.join(MOTIONS)}")
    return MOTIONS[name]


def _path(
    tau: Floats, *, dx: Floats | None = None, dy: Floats | None = None, angle: Floats | None = None,
    log_scale: Floats | None = None,
) -> Path:  # fmt: skip
    still = np.zeros_like(tau)
    return Path(*(still if values is None else values for values in (dx, dy, angle, log_scale)))


def _along(tau: Floats, distance: Floats, heading_rad: float) -> Path:
    return _path(tau, dx=distance * math.cos(heading_rad), dy=distance * math.sin(heading_rad))


def _translate_right(tau: Floats, params: MotionParams) -> Path:
    return _path(tau, dx=params.speed_px * tau)


def _translate_down(tau: Floats, params: MotionParams) -> Path:
    return _path(tau, dy=params.speed_px * tau)


def _rotate_clockwise(tau: Floats, params: MotionParams) -> Path:
    return _path(tau, angle=params.turn_rad * tau)


def _grow(tau: Floats, params: MotionParams) -> Path:
    return _path(tau, log_scale=params.growth * tau)


def _oscillation(tau: Floats, params: MotionParams) -> Floats:
    """A sine whose greatest speed is ``speed_px``."""
    omega = 2 * math.pi / OSCILLATION_FRAMES
    return params.speed_px / omega * of_each(math.sin, omega * tau + params.phase_rad)


def _oscillate_x(tau: Floats, params: MotionParams) -> Path:
    return _path(tau, dx=_oscillation(tau, params))


def _oscillate_y(tau: Floats, params: MotionParams) -> Path:
    return _path(tau, dy=_oscillation(tau, params))


def _left_then_right(tau: Floats, params: MotionParams) -> Path:
    return _path(tau, dx=params.speed_px * np.abs(tau))


def _right_then_left(tau: Floats, params: MotionParams) -> Path:
    return _path(tau, dx=-params.speed_px * np.abs(tau))


def _accelerate(tau: Floats, params: MotionParams) -> Path:
    distance = params.speed_px * (tau + SPEED_CHANGE * tau**2 / (2 * params.half_clip_frames))
    return _along(tau, distance, params.heading_rad)


def _start(tau: Floats, params: MotionParams) -> Path:
    return _along(tau, params.speed_px * np.maximum(tau, 0.0), params.heading_rad)


def _backwards(path: Callable[[Floats, MotionParams], Path]) -> Callable[[Floats, MotionParams], Path]:
    return lambda tau, params: path(-tau, params)


def _pair(
    name: str, path: Callable[[Floats, MotionParams], Path], reverse: str, *, scales: bool = False
) -> tuple[Motion, Motion]:
    return Motion(name, path, reverse, scales), Motion(reverse, _backwards(path), name, scales)


_ALL = (
    *_pair("translate_left", _backwards(_translate_right), "translate_right"),
    *_pair("translate_up", _backwards(_translate_down), "translate_down"),
    *_pair("rotate_clockwise", _rotate_clockwise, "rotate_anticlockwise"),
    *_pair("grow", _grow, "shrink", scales=True),
    *_pair("accelerate", _accelerate, "decelerate"),
    *_pair("start", _start, "stop"),
    Motion("left_then_right", _left_then_right, "left_then_right"),
    Motion("right_then_left", _right_then_left, "right_then_left"),
    Motion("oscillate_x", _oscillate_x, "oscillate_x"),
    Motion("oscillate_y", _oscillate_y, "oscillate_y"),
)

MOTIONS: Mapping[str, Motion] = MappingProxyType({motion.name: motion for motion in _ALL})

DEMO_CLASSES = tuple(motion.name for motion in _ALL[:8])
