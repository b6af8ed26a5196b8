"""Warped flow: what still moves once the camera's own motion is undone (Wang and Schmid, ICCV 2013; an input of TSN).

1. TV-L1 flow from the first frame to the second.
2. The camera's homography, from matches outside of people (:mod:`kineflow.flow.camera`).
3. The second frame, warped to where a camera that stood still would have seen it.
4. TV-L1 flow from the first frame to the warped one.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kineflow.flow.camera import Camera, estimate_camera, warp_to_first
from kineflow.flow.tvl1 import tvl1_flow
from kineflow.spec.tvl1 import SolverChoice, TVL1Params
from kineflow.storage.errors import KineflowError


class WarpedFlow(NamedTuple):
    """Flow of a batch of pairs, with and without the camera's motion.

    Attributes:
        flow: float32 [N, 2, H, W] in pixels, as :func:`kineflow.flow.tvl1.tvl1_flow` gives it.
        warped: The same without the camera's motion. A pair whose camera stands still, or was not found, has its flow.
        cameras: Motion of the camera in each pair.
    """

    flow: Tensor
    warped: Tensor
    cameras: tuple[Camera, ...]


def warped_flow(
    first: Tensor,
    second: Tensor,
    params: TVL1Params | None = None,
    *,
    device: torch.device | str | None = None,
    people: Tensor | None = None,
    solver: SolverChoice = "auto",
    threads: int = 1,
) -> WarpedFlow:
    """Flow from ``first`` to ``second``, and the same without the camera's motion.

    Args:
        first, second: Grey frames, uint8 [N, H, W]; never changed.
        params: Of TV-L1; by default OpenCV's on the CPU.
        device: Where TV-L1 computes and the results are left; by default where ``first`` is. Cameras are always found
            on the CPU.
        people: Where ``first`` shows people, bool [N, H, W]; their motion is not taken for the camera's.
        solver: Of TV-L1, see :func:`kineflow.flow.tvl1.tvl1_flow`.
        threads: That look for cameras; the result does not depend on them.

    Raises:
        KineflowError: The frames are not uint8 [N, H, W] of one shape, or ``people`` has another shape.
    """
    if first.dtype != torch.uint8 or second.dtype != torch.uint8:
        raise KineflowError(f"grey frames of type uint8 were expected, not {first.dtype} and {second.dtype}")
    if people is not None and people.shape != first.shape:
        raise KineflowError(f"masks of people {list(people.shape)} do not fit frames {list(first.shape)}")
    flow = tvl1_flow(first, second, params, device=device, solver=solver)
    before, after, displaced = (stack.cpu().numpy() for stack in (first, second, flow))
    masks = [None] * len(before) if people is None else list(people.cpu().numpy().astype(bool))
    with ThreadPoolExecutor(threads) as pool:
        cameras = tuple(pool.map(_find, before, after, displaced, masks))
        moving = [n for n, camera in enumerate(cameras) if camera.moves]
        steadied = list(pool.map(lambda n: warp_to_first(after[n], cameras[n].homography, before[n]), moving))
    warped = flow.clone()
    if moving:
        unmoved = torch.from_numpy(np.stack(steadied))
        warped[moving] = tvl1_flow(first.cpu()[moving], unmoved, params, device=flow.device, solver=solver)
    return WarpedFlow(flow, warped, cameras)


def _find(
    first: npt.NDArray[np.uint8],
    second: npt.NDArray[np.uint8],
    flow: npt.NDArray[np.float32],
    people: npt.NDArray[np.bool_] | None,
) -> Camera:
    return estimate_camera(first, second, flow, exclude=people)
