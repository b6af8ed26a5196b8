"""What is exactly known of a rendered clip: the layers' poses, and from them flow, camera motion and occlusion.

The file holds the poses as float64 and the masks as bits, about 2 kB for a clip of 64×64×13; flow is computed from
them when asked for. An affine is a 2×3 matrix that maps the column (x, y, 1); x points right and y down, in pixels.

The actor lives on a torus of the image's size: what leaves on the right enters on the left. So a pixel belongs to the
copy of the actor whose centre is nearest, and moves with that copy.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kineflow.spec.arrays import Floats
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file

_MOST_BYTES = 64 * 2**20
_REMEDY = "make the clips again: kineflow synth"


@dataclass(frozen=True)
class Truth:
    """The layered motion of one clip.

    Attributes:
        actor: Affines from the actor's own coordinates to the image, float64 [T, 2, 3].
        scene: Affines from the scene's coordinates to the image, float64 [T, 2, 3].
        mask: Where the actor is, bool [T, H, W].
    """

    actor: Floats
    scene: Floats
    mask: npt.NDArray[np.bool_]

    @property
    def camera(self) -> Floats:
        """Motion of the background from each frame to the next, affines float64 [T-1, 2, 3]."""
        return np.stack([_between(old, new) for old, new in zip(self.scene[:-1], self.scene[1:], strict=True)])

    @property
    def flow(self) -> npt.NDArray[np.float32]:
        """Exact flow in pixels, float32 [T-1, H, W, 2], (u, v) with I_t(x) = I_{t+1}(x + u) where not occluded."""
        height, width = self.mask.shape[1:]
        x, y = pixel_grid(height, width)
        flow = np.empty((len(self.mask) - 1, height, width, 2), np.float32)
        for t, camera in enumerate(self.camera):
            flow[t] = _displacement(camera, x, y)
            old, new, inside = self.actor[t], self.actor[t + 1], self.mask[t]
            # Relative to the centre of the nearest copy of the actor, the motion is that of the actor itself.
            dx = wrap(x[inside] - old[0, 2], width) + old[0, 2]
            dy = wrap(y[inside] - old[1, 2], height) + old[1, 2]
            flow[t][inside] = _displacement(_between(old, new), dx, dy)
        return flow

    @property
    def occluded(self) -> npt.NDArray[np.bool_]:
        """Pixels that the next frame does not show: covered by the other layer, or outside; bool [T-1, H, W].

        A pixel counts as covered when any of the four pixels around the place it moves to is of the other layer.
        """
        height, width = self.mask.shape[1:]
        x, y = pixel_grid(height, width)
        flow = self.flow
        hidden = np.empty(flow.shape[:3], bool)
        for t in range(len(flow)):
            to_x, to_y = x + flow[t, ..., 0], y + flow[t, ..., 1]
            # On the torus an actor that leaves is still shown, at the other side; the scene is not.
            outside = (to_x < 0) | (to_x > width - 1) | (to_y < 0) | (to_y > height - 1)
            left, top = np.floor(to_x).astype(int), np.floor(to_y).astype(int)
            hidden[t] = outside & ~self.mask[t]
            for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
                hidden[t] |= self.mask[t + 1][(top + i) % height, (left + j) % width] != self.mask[t]
        return hidden


def pixel_grid(height: int, width: int) -> tuple[Floats, Floats]:
    """Coordinates x and y of every pixel's centre, float64 [H, W] each; the first pixel's are (0, 0)."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    return x, y


def wrap(offset: Floats, period: float) -> Floats:
    """The offset to the nearest copy on a torus: ``offset`` plus a multiple of ``period``, in [-period/2, period/2)."""
    wrapped: Floats = offset - period * np.floor(offset / period + 0.5)
    return wrapped


def save_truth(truth: Truth, path: Path) -> None:
    """Write ``truth`` as .npz, whole or not at all; the same truth gives the same bytes."""
    with atomic_file(path) as partial, partial.open("wb") as stream:
        np.savez_compressed(
            stream,
            actor=truth.actor,
            scene=truth.scene,
            shape=np.array(truth.mask.shape, np.int32),
            mask=np.packbits(truth.mask),
        )


def load_truth(path: Path) -> Truth:
    """Read what :func:`save_truth` wrote.

    Raises:
        KineflowError: The file is missing, or is no truth file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            stored = {name: _array(archive, name) for name in ("shape", "mask", "actor", "scene")}
        shape = tuple(int(length) for length in stored["shape"])
        if len(shape) != 3 or min(shape) < 1 or math.prod(shape) > stored["mask"].size * 8:
            raise ValueError(f"masks {shape} of {stored['mask'].size} bytes")
        mask = np.unpackbits(stored["mask"], count=math.prod(shape)).astype(bool).reshape(shape)
        truth = Truth(stored["actor"], stored["scene"], mask)
    except (OSError, ValueError, TypeError, KeyError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:
        raise KineflowError(
            f"no readable truth of a synthetic clip ({error})",
            where=path,
            remedy=_REMEDY,
        ) from None
    frames = len(mask)
    if mask.ndim != 3 or truth.actor.shape != (frames, 2, 3) or truth.scene.shape != (frames, 2, 3):
        raise KineflowError(
            f"poses {truth.actor.shape} and {truth.scene.shape} do not fit masks {shape}",
            where=path,
            remedy=_REMEDY,
        )
    return truth


def _array(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    """An array of a .npz file, of which no more is taken to be there than the archive says that it holds.

    Raises:
        ValueError: It is larger than 64 MiB, or no array of numbers.
        KeyError: There is none of this name.
    """
    member = archive.getinfo(f"{name}.npy")
    if member.file_size > _MOST_BYTES:
        raise ValueError(f"{name} of {member.file_size} bytes; at most {_MOST_BYTES} are read")
    with archive.open(member) as stream:
        content = io.BytesIO(stream.read(_MOST_BYTES))
    version = np.lib.format.read_magic(content)
    if version != (1, 0):
        raise ValueError(f"{name} in format {version}")
    shape, _, kind = np.lib.format.read_array_header_1_0(content)
    if kind.hasobject or kind.itemsize * math.prod(shape) != len(content.getbuffer()) - content.tell():
        raise ValueError(f"{name} of shape {shape} is not what its bytes hold")
    content.seek(0)
    array: npt.NDArray[Any] = np.lib.format.read_array(content, allow_pickle=False)
    return array


def _between(old: Floats, new: Floats) -> Floats:
    """The affine that carries image points of pose ``old`` to those of pose ``new``."""
    linear = new[:, :2] @ np.linalg.inv(old[:, :2])
    return np.column_stack([linear, new[:, 2] - linear @ old[:, 2]])


def _displacement(affine: Floats, x: Floats, y: Floats) -> Floats:
    """How far ``affine`` moves the points, [..., 2]."""
    moved = (row[0] * x + row[1] * y + row[2] for row in affine)
    return np.stack([to - origin for to, origin in zip(moved, (x, y), strict=True)], axis=-1)
