"""The groups of descriptors of a clip, and what each reads of it."""

from __future__ import annotations

from kineflow.spec.modality import RGB_CHANNELS, Modality
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.quantise import LARGEST_VALUE
from kineflow.storage.errors import KineflowError

GROUPS = ("motion", "flow", "direction", "appearance", "change")
"""In the order of their columns: statistics of frame differences, of flow whichever way it goes, and of where it goes;
and of what a network for images sees of the frames, its mean and its change."""

_OF_FLOW = ("flow", "direction")
_OF_IMAGES = ("appearance", "change")
_HALF = LARGEST_VALUE / 2


def split_groups(joined: str) -> tuple[str, ...]:
    """Groups named as in ``motion+flow``, in the order of :data:`GROUPS`.

    Raises:
        KineflowError: One is unknown or named twice.
    """
    named = joined.split("+")
    if (unknown := sorted(set(named) - set(GROUPS))) or len(set(named)) < len(named):
        fault = f"no group of descriptors is called {unknown[0]!r}" if unknown else f"a group is named twice: {joined}"
        raise KineflowError(fault, remedy=f"join some of {', '.join(GROUPS)} by +")
    return tuple(group for group in GROUPS if group in named)


def of_images(groups: tuple[str, ...]) -> bool:
    """Whether a group needs a network for images."""
    return any(group in groups for group in _OF_IMAGES)


def of_rgb(groups: tuple[str, ...]) -> bool:
    """Whether a group reads frames."""
    return any(group not in _OF_FLOW for group in groups)


def of_flow(groups: tuple[str, ...]) -> bool:
    """Whether a group reads flow."""
    return any(group in _OF_FLOW for group in groups)


def input_of(groups: tuple[str, ...], *, frames: int, stride_frames: int, crop: int) -> Preprocessing:
    """What these groups read of a clip: the whole frame as a square, RGB in [0, 1], flow as a share of its bound.

    A clip shorter than the window starts again: its motion goes on, where still frames would dilute it.

    Args:
        groups: As :func:`split_groups` gives them.
        frames: Time steps of a window.
        stride_frames: From one to the next.
        crop: Side of the square, pixels.
    """
    modality: Modality = "flow" if not of_rgb(groups) else "rgb_flow" if of_flow(groups) else "rgb"
    rgb, flow = (RGB_CHANNELS if of_rgb(groups) else 0), (2 if of_flow(groups) else 0)
    return Preprocessing(
        modality,
        frames,
        stride_frames,
        crop,
        crop,
        mean=(0.0,) * rgb + (_HALF,) * flow,
        std=(float(LARGEST_VALUE),) * rgb + (_HALF,) * flow,
        fit="squash",
        short="wrap",
    )
