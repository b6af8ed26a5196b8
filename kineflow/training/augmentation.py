"""Training clips that are mixed with each other or seen in other colours, on the device that learns from them.

Mixup (Zhang et al. 2018) adds two clips with weights λ and 1 - λ; CutMix (Yun et al. 2019) pastes a rectangle of one
into the other, at the same place in every frame. Labels are mixed by the same λ, and so are all modalities of a clip: a
teacher sees what its student sees. One with a geometry of its own sees clips in their own colours.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
from torch import Tensor

from kineflow.storage.errors import KineflowError
from kineflow.training.settings import RunSettings
from kineflow.training.tasks import Batch, Classification

_COLOURED = ("rgb", "rgb_flow")  # of the second, the first three channels
_CLIPS = ("rgb", "rgb_difference", "flow", "warped_flow", "rgb_flow")
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601


class Augmentation:
    """What a training does to its batches before it learns from them; nothing unless its settings say so.

    Args:
        task: What is learnt.
        settings: ``mixup``, ``cutmix`` and ``colour_jitter``, where they have them.

    Raises:
        KineflowError: The task's labels cannot be mixed, or its clips have no colours.
    """

    def __init__(self, task: Classification, settings: RunSettings) -> None:
        self._mixup, self._cutmix, self._jitter = (
            float(getattr(settings, name, 0)) for name in ("mixup", "cutmix", "colour_jitter")
        )
        if (self._mixup or self._cutmix) and not task.can_mix:
            raise KineflowError(
                f"{type(task).__name__} cannot learn from mixed clips, or one of its teachers sees clips in a geometry "
                "of its own",
                remedy="set mixup and cutmix to 0",
            )
        if self._jitter and task.preprocessing.modality not in _COLOURED:
            raise KineflowError(
                f"clips of {task.preprocessing.modality} have no colours to vary", remedy="set colour_jitter to 0"
            )

    @property
    def is_on(self) -> bool:
        """Whether a clip looks otherwise each time."""
        return bool(self._mixup or self._cutmix or self._jitter)

    def __call__(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """The batch, on its device, with its clips changed as ``rng`` draws."""
        if not self.is_on:
            return batch
        tensors = dict(cast(dict[str, Tensor], batch))
        if self._jitter:
            factors = rng.uniform(1 - self._jitter, 1 + self._jitter, (len(tensors["label"]), 3)).astype(np.float32)
            for name in tensors.keys() & set(_COLOURED):
                tensors[name] = other_colours(tensors[name], torch.from_numpy(factors).to(tensors[name].device))
        if self._mixup or self._cutmix:
            self._mix(tensors, rng)
        return cast(Batch, tensors)

    def _mix(self, tensors: dict[str, Tensor], rng: np.random.Generator) -> None:
        chances = np.array([self._mixup > 0, self._cutmix > 0], dtype=float)
        cuts = rng.random() >= chances[0] / chances.sum()
        alpha = self._cutmix if cuts else self._mixup
        share = float(rng.beta(alpha, alpha))
        labels, labelled = tensors["label"], tensors["labelled"]
        partner = torch.arange(len(labels), device=labels.device).roll(1)
        partner[labelled] = labelled.roll(1)  # a clip with a label is mixed with another that has one
        clips = [name for name in _CLIPS if name in tensors]
        if cuts:
            box, share = _box(tensors[clips[0]].shape[-2:], share, rng)
            for name in clips:
                pasted = tensors[name].clone()
                pasted[..., box[0], box[1]] = tensors[name][partner][..., box[0], box[1]]
                tensors[name] = pasted
        else:
            for name in clips:
                tensors[name] = torch.lerp(tensors[name][partner].float(), tensors[name].float(), share)
        tensors["mixed_label"] = labels[partner]
        tensors["share"] = torch.full((), share, device=labels.device)


def other_colours(clips: Tensor, factors: Tensor) -> Tensor:
    """Clips [B,C,T,H,W] in 0..255 whose first three channels have another brightness, contrast and saturation.

    Args:
        clips: Red, green, blue, and what else there is, which stays.
        factors: Of each clip [B,3], around 1; the same in all of its frames.
    """
    brightness, contrast, saturation = factors.reshape(*factors.shape, 1, 1, 1, 1).unbind(1)  # [B,1,1,1,1]
    colours = clips[:, :3].float() * brightness
    grey = _grey(colours)
    colours = torch.lerp(grey.mean(dim=(2, 3, 4), keepdim=True), colours, contrast)
    colours = torch.lerp(_grey(colours), colours, saturation).clamp(0, 255)
    return torch.cat([colours, clips[:, 3:].float()], dim=1) if clips.shape[1] > 3 else colours


def _grey(colours: Tensor) -> Tensor:
    red, green, blue = colours.unbind(1)
    return (red * _GREY[0] + green * _GREY[1] + blue * _GREY[2]).unsqueeze(1)


def _box(
    size: tuple[int, int] | torch.Size, share: float, rng: np.random.Generator
) -> tuple[tuple[slice, slice], float]:
    """A rectangle of about 1 - ``share`` of a frame around a point anywhere in it, and the share that lies outside."""
    cuts = []
    for side in size:
        half, centre = int(side * math.sqrt(1 - share)) // 2, int(rng.integers(side))
        cuts.append(slice(max(0, centre - half), min(side, centre + half)))
    inside = math.prod(cut.stop - cut.start for cut in cuts) / math.prod(size)
    return (cuts[0], cuts[1]), 1 - inside
