"""A flow stream that finds its own flow: PWC-Net in front of it, trained with it (D3D's ablation).

D3D (Stroud et al., WACV 2020) compares with a flow stream whose flow comes from PWC-Net and is fine-tuned end to end by
the class labels: better than a fixed flow there. The stream sees what it would see of a flow set, with two differences:
flow is not rounded, so that the gradient passes, and a clip of T frames has T - 1 flow frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kineflow.models.network import VideoNetwork
from kineflow.models.pwc_net import PWCNet
from kineflow.models.registry import create_model, register_model
from kineflow.models.stage_names import S3D_NETWORKS
from kineflow.spec.quantise import DEFAULT_BOUND_PX, px_to_scale
from kineflow.storage.errors import KineflowError


@register_model
def learnt_flow(
    *,
    num_classes: int,
    in_channels: int = 3,
    stream: str = "s3d_g",
    estimator_width: float = 1.0,
    frozen: bool = False,
    bound_px: float = DEFAULT_BOUND_PX,
    flow_mean: float = 127.5,
    flow_std: float = 32.0,
    width: float = 1.0,
    dropout: float = 0.2,
    stem_temporal_stride: int = 2,
    stem_spatial_stride: int = 2,
    bn_momentum: float = 0.001,
    last_stage: str = "Mixed5c",
) -> LearntFlow:
    """PWC-Net and S3D or S3D-G; for the keywords see :class:`LearntFlow` and :class:`~kineflow.models.s3d.S3D`."""
    if in_channels != 3:
        raise KineflowError(
            f"flow is learnt from RGB frames, not from {in_channels} channels", remedy="give it the modality rgb"
        )
    if stream not in S3D_NETWORKS:
        raise KineflowError(
            f"no stream of learnt flow is called {stream!r}", remedy=f"choose one of: {', '.join(S3D_NETWORKS)}"
        )
    network = create_model(
        stream,
        num_classes=num_classes,
        in_channels=2,
        width=width,
        dropout=dropout,
        stem_temporal_stride=stem_temporal_stride,
        stem_spatial_stride=stem_spatial_stride,
        bn_momentum=bn_momentum,
        last_stage=last_stage,
    )
    estimator = PWCNet(estimator_width)
    return LearntFlow(network, estimator, bound_px=bound_px, flow_mean=flow_mean, flow_std=flow_std, frozen=frozen)


class LearntFlow(VideoNetwork):
    """RGB clip → estimated flow → flow stream → logits. Frames come in as they are, RGB in 0..255: mean 0 and std 1.

    Args:
        stream: A network for clips of 2 channels.
        estimator: From two images float [N,3,H,W] in 0..255, RGB, to u and v in px, [N,2,H,W].
        bound_px: Flow is clipped to ±this, as in the flow set that the stream was first trained on. The gradient into
            the estimator is 0 where it clips.
        flow_mean, flow_std: How the stream's flow is normalised, in units of 0..255.
        frozen: The estimator stays as it is; in the paper it learns.
    """

    stem_name = "estimator.conv1a.0"
    has_separate_stages = True

    def __init__(
        self,
        stream: VideoNetwork,
        estimator: PWCNet,
        *,
        bound_px: float,
        flow_mean: float,
        flow_std: float,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        self.stream, self.estimator = stream, estimator
        self.bound_px, self.flow_mean, self.flow_std = bound_px, flow_mean, flow_std
        self.num_features, self.num_classes = stream.num_features, stream.num_classes
        self.classifier_name = f"stream.{stream.classifier_name}"
        if frozen:
            estimator.requires_grad_(False)

    def estimate(self, clips: Tensor) -> Tensor:
        """Clips [B,3,T,H,W] → flow in px, [B,2,T-1,H,W], of each frame to the next; of a single frame, to itself."""
        if clips.shape[2] == 1:
            clips = torch.cat([clips, clips], dim=2)
        first, second = (frames.transpose(1, 2).flatten(0, 1) for frames in (clips[:, :, :-1], clips[:, :, 1:]))
        flow: Tensor = self.estimator(first, second)  # [B·(T-1),2,H,W]
        return flow.view(clips.shape[0], -1, *flow.shape[1:]).transpose(1, 2)

    def forward_features(self, x: Tensor) -> Tensor:
        """[B,3,T,H,W] → [B,F,T',H',W'], T' as for a clip of T - 1 flow frames."""
        px = self.run_stage(self.estimate, x).clamp(-self.bound_px, self.bound_px)
        scaled = px_to_scale(px, self.bound_px)
        return self.stream.forward_features((scaled - self.flow_mean) / self.flow_std)

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """See :meth:`VideoNetwork.forward_head`."""
        return self.stream.forward_head(features, pre_logits=pre_logits)

    def stage_modules(self) -> tuple[tuple[str, ...], ...]:
        """The estimator, then the stream's."""
        return (("estimator",), *super().stage_modules())

    def reset_classifier(self, num_classes: int) -> None:
        """See :meth:`VideoNetwork.reset_classifier`."""
        self.stream.reset_classifier(num_classes)
        self.num_classes = num_classes
