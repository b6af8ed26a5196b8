"""S3D-G in the layout of its authors' TensorFlow release, which the published D3D weights are in.

The network is that of :mod:`kineflow.models.s3d` (Xie et al., ECCV 2018), built otherwise in five places:

- Conv1a is one joint convolution of 3×7×7, not split;
- a split convolution is normalised after its half over space only: the half over time has a bias, and begins as the
  identity, so that an untrained network sees each frame by itself;
- batch normalisation has an offset and no scale;
- padding is TensorFlow's ``SAME``: ⌈side / stride⌉ places, and where the padding is odd the further one behind;
- frames are given in 0..1, neither centred nor scaled to unit deviation.

9,518,848 parameters for 400 classes: 7,889,520 in the body, 1,219,328 in the gates, 410,000 in the classifier.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kineflow.models.registry import register_model
from kineflow.models.s3d import MIXED_STAGES, S3D, Layers, SelfGate, Triple

_SCOPE = "InceptionV1/"  # of the release's variables
_MIXED_CONVOLUTIONS = {
    "branch0": "Branch_0/Conv2d_0a_1x1",
    "branch1.0": "Branch_1/Conv2d_0a_1x1",
    "branch2.0": "Branch_2/Conv2d_0a_1x1",
    "branch3.1": "Branch_3/Conv2d_0b_1x1",
}
_MIXED_SPLIT = {"branch1.1": "Branch_1/Conv2d_0b_3x3", "branch2.1": "Branch_2/Conv2d_0b_3x3"}
_MIXED_GATED = {"gate0": "branch0", "gate1": "branch1.1", "gate2": "branch2.1", "gate3": "branch3.1"}


@register_model
def s3d_g_tensorflow(
    *,
    num_classes: int,
    in_channels: int = 3,
    width: float = 1.0,
    dropout: float = 0.2,
    stem_temporal_stride: int = 2,
    stem_spatial_stride: int = 2,
    bn_momentum: float = 0.001,
    last_stage: str = "Mixed5c",
) -> S3DTensorFlow:
    """S3D-G as TensorFlow's release has it; for the keywords see :class:`kineflow.models.s3d.S3D`."""
    return S3DTensorFlow(
        num_classes=num_classes,
        in_channels=in_channels,
        gating=True,
        width=width,
        dropout=dropout,
        stem_temporal_stride=stem_temporal_stride,
        stem_spatial_stride=stem_spatial_stride,
        bn_momentum=bn_momentum,
        last_stage=last_stage,
    )


class S3DTensorFlow(S3D):
    """S3D-G in the layout of TensorFlow's release; arguments and shapes are those of :class:`S3D`."""

    stem_name = "features.0.0"

    def layers(self) -> Layers:
        """What it is made of."""
        return Layers(_stem, SplitConv, _pointwise, SamePool, _halve)

    def adapt_checkpoint(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Name and lay out the release's variables as this network's; what is not the network's is left out."""
        if not any(name.startswith(_SCOPE) for name in state):
            return dict(state)
        own = self.state_dict()
        return {
            name: _laid_out(state[released])
            for name, released in released_names()
            if released in state and (name in own or name.startswith(self.classifier_name))
        }


def released_names() -> Iterator[tuple[str, str]]:
    """Names of this network's tensors, and of the release's variables that they are."""
    plain = {"features.0": "Conv2d_1a_7x7", "features.2": "Conv2d_2b_1x1"}
    split = {"features.3": "Conv2d_2c_3x3"}
    gated = {"features.3.gate": "features.3"}
    for stage, place in MIXED_STAGES.items():
        block, scope = f"features.{place}", f"{stage[:5]}_{stage[5:]}"
        plain |= {f"{block}.{part}": f"{scope}/{theirs}" for part, theirs in _MIXED_CONVOLUTIONS.items()}
        split |= {f"{block}.{part}": f"{scope}/{theirs}" for part, theirs in _MIXED_SPLIT.items()}
        gated |= {f"{block}.{gate}": f"{block}.{part}" for gate, part in _MIXED_GATED.items()}
    scopes = {**plain, **split, "classifier.1": "Logits/Conv2d_0c_1x1"}
    for part, scope in scopes.items():
        over_space = f"{part}.0" if part in split else part
        if part == "classifier.1":
            yield f"{part}.weight", f"{_SCOPE}{scope}/weights"
            yield f"{part}.bias", f"{_SCOPE}{scope}/biases"
            continue
        yield f"{over_space}.0.weight", f"{_SCOPE}{scope}/weights"
        yield f"{over_space}.1.bias", f"{_SCOPE}{scope}/BatchNorm/beta"
        yield f"{over_space}.1.running_mean", f"{_SCOPE}{scope}/BatchNorm/moving_mean"
        yield f"{over_space}.1.running_var", f"{_SCOPE}{scope}/BatchNorm/moving_variance"
        if part in split:
            yield f"{part}.1.0.weight", f"{_SCOPE}{scope}/temporal/weights"
            yield f"{part}.1.0.bias", f"{_SCOPE}{scope}/temporal/biases"
    for gate, part in gated.items():
        yield f"{gate}.project.weight", f"{_SCOPE}{scopes[part]}/self_gating/transformer_W/weights"


def _laid_out(variable: Tensor) -> Tensor:
    """TensorFlow's [t,h,w,in,out] → [out,in,t,h,w]; vectors, which some releases keep as [1,1,1,1,C], → [C]."""
    if variable.ndim == 5 and variable.shape[:4] != (1, 1, 1, 1):
        return variable.permute(4, 3, 0, 1, 2)
    return variable.flatten()


class SameConv3d(nn.Conv3d):
    """A convolution with TensorFlow's ``SAME`` padding of zeros, whatever the clip's length and size."""

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,T,H,W] → [B,C',⌈T/s⌉,⌈H/s⌉,⌈W/s⌉]."""
        sides: list[int] = []
        for side, kernel, stride in zip(x.shape[2:], self.kernel_size, self.stride, strict=True):
            padding = _same_padding(side, kernel, stride)
            sides = [padding // 2, padding - padding // 2, *sides]  # F.pad begins with the last dimension
        return super().forward(F.pad(x, sides))


class SamePool(nn.Module):
    """A max pool with TensorFlow's ``SAME`` padding, which is never the largest."""

    def __init__(self, kernel: Triple, stride: Triple) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,T,H,W] → [B,C,⌈T/s⌉,⌈H/s⌉,⌈W/s⌉]."""
        before = [_same_padding(*each) // 2 for each in zip(x.shape[2:], self.kernel, self.stride, strict=True)]
        return F.max_pool3d(x, self.kernel, self.stride, before, ceil_mode=True)


class OffsetNorm(nn.BatchNorm3d):
    """Batch normalisation with an offset and no scale: that is 1, and does not learn."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-3)
        del self.weight
        self.register_buffer("weight", torch.ones(channels), persistent=False)


class SplitConv(nn.Sequential):
    """A 3×3×3 convolution as 1×3×3 over space, normalised, then 3×1×1 over time with a bias; both with a ReLU."""

    def __init__(self, channels_in: int, channels_out: int, gating: bool) -> None:
        over_space = nn.Conv3d(channels_in, channels_out, (1, 3, 3), padding=(0, 1, 1), bias=False)
        over_time = nn.Conv3d(channels_out, channels_out, (3, 1, 1), padding=(1, 0, 0))
        nn.init.dirac_(over_time.weight)
        nn.init.zeros_(over_time.bias)  # type: ignore[arg-type]  # a Conv3d has one unless told otherwise
        super().__init__(_normalised(over_space), nn.Sequential(over_time, nn.ReLU(inplace=True)))
        if gating:
            self.add_module("gate", SelfGate(channels_out))


def _same_padding(side: int, kernel: int, stride: int) -> int:
    """Places to add to ``side``, for windows that begin at each stride and cover it."""
    return max((-(-side // stride) - 1) * stride + kernel - side, 0)


def _normalised(conv: nn.Conv3d) -> nn.Sequential:
    """He's variance, for the reason that :func:`kineflow.models.s3d.conv_norm_relu` gives."""
    nn.init.kaiming_uniform_(conv.weight, nonlinearity="relu")
    return nn.Sequential(conv, OffsetNorm(conv.out_channels), nn.ReLU(inplace=True))


def _stem(channels_in: int, channels_out: int, stride: Triple) -> nn.Module:
    return _normalised(SameConv3d(channels_in, channels_out, (3, 7, 7), stride, bias=False))


def _pointwise(channels_in: int, channels_out: int) -> nn.Module:
    return _normalised(nn.Conv3d(channels_in, channels_out, 1, bias=False))


def _halve() -> nn.Module:
    return SamePool((2, 2, 2), (2, 2, 2))
