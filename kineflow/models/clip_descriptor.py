"""A linear classifier on descriptors of a clip: what moves and how, and what a frozen network for images sees of it.

::

    clip [B,5,T,H,W] ─┬─ grey ──── motion      24   (kineflow.models.clip_statistics)
      RGB and flow    ├─ flow ─┬── flow        22
                      │        └── direction   14
                      └─ images ─┬ appearance   F   mean over time of what the backbone sees
                                 └ change       F   logarithm of how much that changes

It is a network like any other: it trains by :mod:`kineflow.selection` instead of by gradients, and is evaluated,
registered and served as the others are. Which groups of descriptors it has is a hyper-parameter.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kineflow.models.clip_statistics import (
    DIRECTION_STATISTICS,
    FLOW_STATISTICS,
    MOTION_STATISTICS,
    direction_statistics,
    flow_statistics,
    motion_statistics,
)
from kineflow.models.network import ImageNetwork, VideoNetwork
from kineflow.models.registry import create_backbone, register_model
from kineflow.spec.descriptors import of_flow, of_images, of_rgb, split_groups
from kineflow.spec.modality import RGB_CHANNELS
from kineflow.storage.errors import KineflowError

_LUMA = (0.299, 0.587, 0.114)
_IMAGE_STRIDE = 2  # of the frames that the backbone looks at
_LEAST_CHANGE = 0.01


class ClipDescriptor(VideoNetwork):
    """Descriptors and a linear classifier.

    Args:
        groups: In the order of :data:`~kineflow.spec.descriptors.GROUPS`.
        num_classes: K, or 0 without a classifier.
        in_channels: 3 for groups that read RGB, 2 for flow, 5 for both.
        backbone: Sees the frames, where a group asks for that; its weights are frozen.

    Attributes:
        image_mean, image_std: [3], what the backbone's input is normalised by, in units of 0..255.

    Raises:
        KineflowError: The groups want another number of channels.
    """

    stem_name, classifier_name = "grey", "classifier"

    def __init__(
        self, groups: tuple[str, ...], *, num_classes: int, in_channels: int, backbone: ImageNetwork | None = None
    ) -> None:
        super().__init__()
        if in_channels != (wanted := channels_of_groups(groups)):
            raise KineflowError(
                f"descriptors {'+'.join(groups)} of {in_channels} channels", remedy=f"give in_channels: {wanted}"
            )
        self.groups, self.backbone = groups, backbone
        self.grey = nn.Conv3d(RGB_CHANNELS, 1, 1, bias=False)
        with torch.no_grad():
            self.grey.weight.copy_(torch.tensor(_LUMA).view(1, RGB_CHANNELS, 1, 1, 1))
        if backbone is not None:
            backbone.reset_classifier(0)
        self.register_buffer("image_mean", torch.zeros(RGB_CHANNELS))
        self.register_buffer("image_std", torch.ones(RGB_CHANNELS))
        self.requires_grad_(False)
        self.num_features = sum(self.sizes.values())
        self.reset_classifier(num_classes)

    image_mean: Tensor
    image_std: Tensor

    def stage_modules(self) -> tuple[tuple[str, ...], ...]:
        """See :meth:`Network.stage_modules`; nothing before the classifier learns."""
        return (("grey",), *((("backbone",),) if self.backbone is not None else ()))

    @property
    def sizes(self) -> dict[str, int]:
        """How many descriptors each of its groups has, in their order."""
        seen = self.backbone.head_hidden_size if self.backbone else 0
        sizes = {
            "motion": MOTION_STATISTICS,
            "flow": FLOW_STATISTICS,
            "direction": DIRECTION_STATISTICS,
            "appearance": seen,
            "change": seen,
        }
        return {group: sizes[group] for group in self.groups}

    def forward_features(self, x: Tensor) -> Tensor:
        """Descriptors [B,F,1,1,1] of clips [B,C,T,H,W]: RGB in [0, 1], then flow as a share of its bound."""
        rgb, flow = (x[:, :RGB_CHANNELS], x[:, RGB_CHANNELS:]) if of_rgb(self.groups) else (None, x)
        described: dict[str, Tensor] = {}
        if "flow" in self.groups:
            described["flow"] = flow_statistics(flow)
        if "direction" in self.groups:
            described["direction"] = direction_statistics(flow)
        if "motion" in self.groups:
            assert rgb is not None  # by of_rgb
            described["motion"] = motion_statistics(self.grey(rgb)[:, 0])
        if self.backbone is not None:
            assert rgb is not None
            seen = self._seen(rgb[:, :, ::_IMAGE_STRIDE])  # [B,T',F]
            changes = (seen.diff(dim=1) if seen.shape[1] > 1 else torch.zeros_like(seen)).abs().mean(dim=1)
            described |= {"appearance": seen.mean(dim=1), "change": (changes + _LEAST_CHANGE).log()}
        return torch.cat([described[group] for group in self.groups], dim=1)[..., None, None, None]

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Descriptors [B,F,1,1,1] → logits [B,K], or with ``pre_logits`` themselves, [B,F]."""
        flat = features.flatten(1)
        return flat if pre_logits else self.classifier(flat)

    def reset_classifier(self, num_classes: int) -> None:
        """See :meth:`Network.reset_classifier`."""
        self.num_classes = num_classes
        self.classifier: nn.Module = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def _seen(self, rgb: Tensor) -> Tensor:
        """What the backbone sees of the frames of [B,3,T,H,W] in [0, 1], [B,T,F]."""
        assert self.backbone is not None
        images = rgb.transpose(1, 2).flatten(0, 1) * 255  # [B·T,3,H,W]
        images = (images - self.image_mean[:, None, None]) / self.image_std[:, None, None]
        with torch.no_grad():
            maps = self.backbone.forward_features(images)
            seen = self.backbone.forward_head(maps, pre_logits=True)
        return seen.reshape(rgb.shape[0], rgb.shape[2], -1)


def channels_of_groups(groups: tuple[str, ...]) -> int:
    """Channels of the clips that these groups read."""
    return (RGB_CHANNELS if of_rgb(groups) else 0) + (2 if of_flow(groups) else 0)


@register_model
def clip_descriptor(
    *, num_classes: int, in_channels: int = 5, groups: str = "motion+flow", backbone: str = "efficientnet_lite0"
) -> ClipDescriptor:
    """A linear classifier on descriptors of a clip.

    Args:
        num_classes: K, or 0.
        in_channels: 3 for groups that read RGB, 2 for flow, 5 for both.
        groups: Of descriptors, joined by ``+``: motion, flow, direction, appearance, change.
        backbone: Name of the network for images, for the last two.

    Raises:
        KineflowError: There is no such group or backbone, or the channels are others.
    """
    wanted = split_groups(groups)
    images = create_backbone(backbone) if of_images(wanted) else None
    return ClipDescriptor(wanted, num_classes=num_classes, in_channels=in_channels, backbone=images)
