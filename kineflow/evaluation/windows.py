"""Windows of a video as a network takes them at test time: which frames to read, and what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kineflow.data.crops import CropCount, fixed_views
from kineflow.data.modality import differences, reads_flow, sources
from kineflow.data.sampling import Indices
from kineflow.data.transforms import Frames, apply_view, normalise, resize_short_side, to_tensor

if TYPE_CHECKING:
    from torch import Tensor

    from kineflow.models.bundle import Preprocessing


def needed_frames(windows: Indices, preprocessing: Preprocessing, *, n_frames: int) -> tuple[Indices, Indices]:
    """Frames (or flow fields) to read for ``windows`` [V,T] of moments, each once, and where each is wanted.

    Returns:
        The frames in order, and for :func:`prepare_windows` the places among them.
    """
    wanted = sources(windows.reshape(-1), preprocessing.modality, n_frames=n_frames)
    needed, places = np.unique(wanted, return_inverse=True)
    return needed, places.reshape(-1)


def prepare_windows(
    frames: Frames, places: Indices, windows: int, preprocessing: Preprocessing, *, crops: CropCount = 1
) -> Tensor:
    """Network inputs float32 [V, crops, C, T, crop, crop] of frames uint8 [needed, H, W, C].

    Args:
        frames: Or quantised flow, as :func:`needed_frames` names them.
        places: From :func:`needed_frames`.
        windows: V.
        preprocessing: Modality, size and normalisation.
        crops: 1 for the centre, 5 with the corners, 10 with their mirror images (flow has its u inverted).
    """
    import torch

    is_flow, is_difference = (reads_flow(preprocessing.modality), preprocessing.modality == "rgb_difference")
    resized = resize_short_side(frames, preprocessing.short_side)
    seen = []
    for view in fixed_views(resized.shape[1], resized.shape[2], preprocessing.crop, crops):
        cut = apply_view(resized, view, is_flow=is_flow)[places]  # [V·T, crop, crop, C], or twice as many
        seen.append(normalise(to_tensor(differences(cut) if is_difference else cut), preprocessing))
    clips = torch.stack(seen)  # [crops, C, V·T, crop, crop]
    clips = clips.reshape(*clips.shape[:2], windows, -1, *clips.shape[3:])  # [crops, C, V, T, crop, crop]
    return clips.permute(2, 0, 1, 3, 4, 5)
