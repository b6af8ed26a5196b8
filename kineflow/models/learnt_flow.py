"""A flow stream that finds its own flow: an estimator in front of it, trained with it (D3D's ablation).

D3D (Stroud et al., WACV 2020) compares with a flow stream whose flow comes from PWC-Net and is fine-tuned end to end by
the class labels: better than a fixed flow there. The stream sees what it would see of a flow set, with two differences:
levels are not rounded, so that the gradient passes, and a clip of T frames has T - 1 fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kineflow.data.transforms import normalise
from kineflow.errors import KineflowError
from kineflow.models.network import VideoNetwork

if TYPE_CHECKING:
    from kineflow.models.bundle import Preprocessing


class LearntFlow(VideoNetwork):
    """RGB clip → estimated flow → flow stream → logits.

    Args:
        stream: A network for clips of 2 channels.
        estimator: From two images float [N,3,H,W] in 0..255, RGB, to u and v in px, [N,2,H,W]. Freeze its parameters
            for a flow that stays as it is.
        rgb: How the clips that come in are normalised.
        flow: How the stream's levels are.
        bound_px: Flow is clipped to ±this, as in the flow set that the stream was first trained on. The gradient into
            the estimator is 0 where it clips.

    Raises:
        KineflowError: ``rgb`` or ``flow`` is of another modality.
    """

    def __init__(
        self,
        stream: VideoNetwork,
        estimator: nn.Module,
        *,
        rgb: Preprocessing,
        flow: Preprocessing,
        bound_px: float,
    ) -> None:
        super().__init__()
        if (rgb.modality, flow.modality) != ("rgb", "flow"):
            raise KineflowError(
                f"learnt flow turns rgb into flow, not {rgb.modality} into {flow.modality}",
                remedy="give the preprocessing of an RGB network as rgb, and that of the flow stream as flow",
            )
        self.stream, self.estimator = stream, estimator
        self.rgb, self.flow, self.bound_px = rgb, flow, bound_px
        self.num_features, self.num_classes = stream.num_features, stream.num_classes
        self.stem_name, self.classifier_name = f"stream.{stream.stem_name}", f"stream.{stream.classifier_name}"

    def estimate(self, clips: Tensor) -> Tensor:
        """Normalised clips [B,3,T,H,W] → flow in px, [B,2,T-1,H,W], of each frame to the next."""
        images = self._images(clips)
        first, second = (frames.transpose(1, 2).flatten(0, 1) for frames in (images[:, :, :-1], images[:, :, 1:]))
        flow: Tensor = self.estimator(first, second)  # [B·(T-1),2,H,W]
        return flow.view(len(clips), -1, *flow.shape[1:]).transpose(1, 2)

    def forward_features(self, x: Tensor) -> Tensor:
        """[B,3,T,H,W] → [B,F,T',H',W'], T' as for a clip of T - 1 fields."""
        px = self.estimate(x).clamp(-self.bound_px, self.bound_px)
        levels = (px + self.bound_px) * (255 / (2 * self.bound_px))
        return self.stream.forward_features(normalise(levels, self.flow))

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """See :meth:`VideoNetwork.forward_head`."""
        return self.stream.forward_head(features, pre_logits=pre_logits)

    def reset_classifier(self, num_classes: int) -> None:
        """See :meth:`VideoNetwork.reset_classifier`."""
        self.stream.reset_classifier(num_classes)
        self.num_classes = num_classes

    def _images(self, clips: Tensor) -> Tensor:
        """Undo the normalisation: RGB in 0..255, float32."""
        mean, std = (
            torch.tensor(part, device=clips.device).view(-1, 1, 1, 1) for part in (self.rgb.mean, self.rgb.std)
        )
        images = clips.float() * std + mean
        return images.flip(1) if self.rgb.channel_order == "bgr" else images
