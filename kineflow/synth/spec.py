"""What a synthetic data set is made of."""

from __future__ import annotations

import math

from pydantic import Field, field_validator, model_validator

from kineflow.storage.config import Params
from kineflow.synth.motions import DEMO_CLASSES, MOTIONS

SIZE_SPREAD = 0.15  # log size in the middle of the clip lies within ± this
OUTLINE_REACH = 1.2  # an outline's greatest radius, in mean radii


class GroupCounts(Params):
    """Number of groups in every split; a group is one actor in one scene."""

    train: int = Field(default=6, ge=1, le=100_000)
    val: int = Field(default=4, ge=1, le=100_000)
    test: int = Field(default=20, ge=1, le=100_000)
    unlabelled: int = Field(default=60, ge=0, le=100_000)


class SynthSpec(Params):
    """A data set of rendered clips whose class is in the motion only.

    Every group shows every class in the same number of takes, so the set has
    ``len(classes) × takes × (sum of groups)`` clips: 1,440 by default, 96 of them for training with labels.

    Attributes:
        classes: Names of motions, see :mod:`kineflow.synth.motions`.
        groups: Groups in each split.
        takes: Clips of each class in each group.
        frames: Length of a clip.
        size_px: Height and width of a clip.
        fps: Frame rate.
        speed_px: Range of the actor's speed, pixels per frame; for rotations, of its mean rim.
        growth: Range of the change of log size per frame, for actors that grow or shrink.
        camera_px: Greatest speed of the background, pixels per frame, in any direction.
        radius_px: Mean radius of an actor of middle size.
        camouflage: How far a scene takes on the mean colour and the contrast of its actor, from 0 (as it happens) to 1
            (the same). The less an actor stands out, the more only its motion shows where it is: networks then need
            many more clips to learn motion from RGB, while optical flow hardly changes.
        noise_levels: Standard deviation of the sensor's noise, in grey levels of 0..255.
        crf: Quality of the H.264 encoding: 0 lossless, 51 worst.
    """

    classes: tuple[str, ...] = Field(default=DEMO_CLASSES, min_length=2)
    groups: GroupCounts = GroupCounts()
    takes: int = Field(default=2, ge=1, le=1000)
    frames: int = Field(default=13, ge=2, le=1000)
    size_px: int = Field(default=64, ge=16, le=1024, multiple_of=2)
    fps: float = Field(default=25.0, gt=0, le=240)
    speed_px: tuple[float, float] = (1.5, 3.0)
    growth: tuple[float, float] = (0.045, 0.075)
    camera_px: float = Field(default=1.5, ge=0, le=10)
    radius_px: float = Field(default=14.5, ge=2)
    camouflage: float = Field(default=1.0, ge=0, le=1)
    noise_levels: float = Field(default=2.0, ge=0, le=64)
    crf: int = Field(default=12, ge=0, le=51)

    @field_validator("classes")
    @classmethod
    def _classes_exist(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in classes if name not in MOTIONS]
        if unknown:
            raise ValueError(f"No motion class {', '.join(unknown)}; known: {', '.join(MOTIONS)}")
        if len(set(classes)) < len(classes):
            raise ValueError("A class is listed twice")
        return classes

    @field_validator("speed_px", "growth")
    @classmethod
    def _range_is_ordered(cls, values: tuple[float, float]) -> tuple[float, float]:
        if not 0 < values[0] <= values[1]:
            raise ValueError("Expected [least, greatest] with 0 < least ≤ greatest")
        return values

    @model_validator(mode="after")
    def _actor_fits(self) -> SynthSpec:
        if 2 * self.largest_radius_px > self.size_px:
            raise ValueError(
                f"The largest actor is {2 * self.largest_radius_px:.1f} px wide (radius_px, growth, frames) "
                f"and the clip only {self.size_px} px (size_px)"
            )
        return self

    @property
    def largest_radius_px(self) -> float:
        """The farthest that any point of any actor lies from its centre."""
        return self.radius_px * OUTLINE_REACH * math.exp(SIZE_SPREAD + self.growth[1] * (self.frames - 1) / 2)
