"""Clips that show the same and look otherwise: in other colours, with a part hidden, nearer by.

What is drawn comes from torch's generator, as dropout does, so that a step that is repeated draws the same.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kineflow.spec.modality import Modality
from kineflow.storage.errors import KineflowError
from kineflow.training.augmentation import other_colours
from kineflow.training.semi_supervised.settings import PerturbationSettings

_GREY = 127.5  # no colour, and as uint8 flow no motion


class Perturbation(nn.Module):
    """Draws for each clip anew how it is changed; all of its frames are changed alike.

    Args:
        settings: By how much.
        modality: Of the clips.

    Raises:
        KineflowError: Clips of this modality have no colours, or their motion would no longer be theirs.
    """

    def __init__(self, settings: PerturbationSettings, modality: Modality) -> None:
        super().__init__()
        self.settings = settings
        if modality != "rgb" and (settings.colour_jitter or settings.zoom):
            raise KineflowError(
                f"colour_jitter and zoom are for RGB clips, and the network sees {modality}",
                remedy="set both to 0; cutout holds for all clips",
            )

    def forward(self, clips: Tensor) -> Tensor:
        """Clips [B,C,T,S,S] in 0..255 to float32 of the same shape and range."""
        settings, changed = self.settings, clips.float()
        if settings.colour_jitter:
            changed = other_colours(changed, 1 + settings.colour_jitter * (2 * _drawn(clips, 3) - 1))
        if settings.zoom:
            changed = zoomed(changed, 1 - settings.zoom * _drawn(clips, 1), _drawn(clips, 2))
        if settings.cutout:
            changed = cut_out(changed, settings.cutout * _drawn(clips, 1), _drawn(clips, 2))
        return changed


def zoomed(clips: Tensor, side: Tensor, place: Tensor) -> Tensor:
    """A square of every frame, resized to the whole.

    Args:
        clips: float [B,C,T,S,S].
        side: Of the square, [B,1] in 0..1 of the frame's.
        place: Of the square within its room, across and down [B,2] in 0..1.
    """
    batch, channels, frames, height, width = clips.shape
    shift = (1 - side) * (2 * place - 1)  # of the middle, where the frame reaches from -1 to 1
    zero = torch.zeros_like(side)
    across, down = (torch.cat(row, dim=1) for row in ((side, zero, shift[:, :1]), (zero, side, shift[:, 1:])))
    grid = F.affine_grid(torch.stack((across, down), dim=1), [batch, channels, height, width], align_corners=False)
    flat = clips.reshape(batch, channels * frames, height, width)
    return F.grid_sample(flat, grid, padding_mode="border", align_corners=False).reshape(clips.shape)


def cut_out(clips: Tensor, side: Tensor, centre: Tensor) -> Tensor:
    """A grey square in every frame, cut off at the frame's edge (CutOut, DeVries & Taylor 2017).

    Args:
        clips: float [B,C,T,S,S].
        side: Of the square, [B,1] in 0..1 of the frame's.
        centre: Across and down [B,2] in 0..1.
    """
    height, width = clips.shape[-2:]
    down, across = (
        ((torch.arange(size, device=clips.device) + 0.5) / size - centre[:, axis : axis + 1]).abs() < side / 2
        for size, axis in ((height, 1), (width, 0))
    )
    hidden = down[:, None, None, :, None] & across[:, None, None, None, :]
    return torch.where(hidden, _GREY, clips)


def _drawn(clips: Tensor, count: int) -> Tensor:
    return torch.rand(len(clips), count, device=clips.device)
