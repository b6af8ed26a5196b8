"""S3D and S3D-G: Inception over time and space, with 3-D convolutions split in two.

Xie, Sun, Huang, Tu, Murphy, "Rethinking Spatiotemporal Feature Learning: Speed-Accuracy Trade-offs in Video
Classification", ECCV 2018 (arXiv 1712.04851): §4.3 splits each k×k×k convolution into 1×k×k and k×1×1 (S3D), §4.4
adds self-gating (S3D-G). D3D (Stroud et al., WACV 2020) takes S3D-G for its teacher and its student.

The layout, and with it the keys of the weights, is the public PyTorch S3D's (8,320,048 parameters for 400 classes):
both halves of a split convolution carry batch normalisation and no bias. That of the authors' TensorFlow release is in
:mod:`kineflow.models.s3d_tensorflow`. Clips may have any length and size, and every width of layer scales with
``width``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kineflow.models.network import VideoNetwork
from kineflow.models.registry import register_model
from kineflow.models.time_conv import TimeConv3d
from kineflow.storage.errors import KineflowError

Triple = tuple[int, int, int]

_CHANNEL_MULTIPLE = 8
_WIDEST = 16.0
_HEAD_WINDOW = (2, 7, 7)
# Where each Mixed block stands among the stages, and so in the keys of the weights.
MIXED_STAGES = {
    "Mixed3b": 5, "Mixed3c": 6, "Mixed4b": 8, "Mixed4c": 9, "Mixed4d": 10, "Mixed4e": 11, "Mixed4f": 12,
    "Mixed5b": 14, "Mixed5c": 15,
}  # fmt: skip


@dataclass(frozen=True)
class Layers:
    """What the network is made of, where its two releases differ.

    Attributes:
        stem: Conv1a: channels in and out, stride.
        separable: A 3×3×3 convolution: channels in and out, and whether its output is gated.
        pointwise: A 1×1×1 convolution with normalisation: channels in and out.
        pool: A max pool that keeps ⌈side / stride⌉: kernel and stride.
        halve: A 2×2×2 max pool of stride 2.
    """

    stem: Callable[[int, int, Triple], nn.Module]
    separable: Callable[[int, int, bool], nn.Module]
    pointwise: Callable[[int, int], nn.Module]
    pool: Callable[[Triple, Triple], nn.Module]
    halve: Callable[[], nn.Module]


@register_model
def s3d(
    *,
    num_classes: int,
    in_channels: int = 3,
    width: float = 1.0,
    dropout: float = 0.2,
    stem_temporal_stride: int = 2,
    stem_spatial_stride: int = 2,
    bn_momentum: float = 0.001,
    last_stage: str = "Mixed5c",
) -> S3D:
    """S3D, without gates (§4.3); for the keywords see :class:`S3D`."""
    return S3D(
        num_classes=num_classes,
        in_channels=in_channels,
        gating=False,
        width=width,
        dropout=dropout,
        stem_temporal_stride=stem_temporal_stride,
        stem_spatial_stride=stem_spatial_stride,
        bn_momentum=bn_momentum,
        last_stage=last_stage,
    )


@register_model
def s3d_g(
    *,
    num_classes: int,
    in_channels: int = 3,
    width: float = 1.0,
    dropout: float = 0.2,
    stem_temporal_stride: int = 2,
    stem_spatial_stride: int = 2,
    bn_momentum: float = 0.001,
    last_stage: str = "Mixed5c",
) -> S3D:
    """S3D-G, with self-gating (§4.4); for the keywords see :class:`S3D`."""
    return S3D(
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


class S3D(VideoNetwork):
    """S3D, or with ``gating`` S3D-G.

    Args:
        num_classes: K; 0 leaves the classifier out.
        in_channels: C, 3 for RGB and 2 for flow.
        gating: Gate the output of every Mixed branch and of Conv2c.
        width: Multiplies the channels of every layer, rounded to multiples of 8, at least 8; 1 is the paper's.
        dropout: Probability that a pooled feature is dropped.
        stem_temporal_stride: Of Conv1a. 1 keeps twice the time steps, which short clips (8 to 16 frames) need.
        stem_spatial_stride: Of Conv1a. 1 keeps twice the map, which small frames (32 to 64 pixels) need.
        bn_momentum: Weight of one batch in the running statistics of batch normalisation. The paper's .001 takes
            thousands of steps to settle: a run of a few hundred evaluates well only with .01 to .1.
        last_stage: The Mixed block whose output is pooled and classified, ``Mixed5c`` in the paper. An earlier one
            leaves out what follows: small frames are at 8×8 after ``Mixed3c`` already, and a few hundred steps train
            seven stages better than sixteen.

    Raises:
        KineflowError: A value is out of its range.
    """

    stem_name = "features.0.0.0"
    classifier_name = "classifier.1"
    has_separate_stages = True

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        gating: bool,
        width: float,
        dropout: float,
        stem_temporal_stride: int,
        stem_spatial_stride: int,
        bn_momentum: float,
        last_stage: str,
    ) -> None:
        super().__init__()
        _require("width", width, 0 < width <= _WIDEST, f"a number above 0, up to {_WIDEST:g}")
        _require("dropout", dropout, 0 <= dropout < 1, "a probability below 1")
        _require("stem_temporal_stride", stem_temporal_stride, stem_temporal_stride in (1, 2), "1 or 2")
        _require("stem_spatial_stride", stem_spatial_stride, stem_spatial_stride in (1, 2), "1 or 2")
        _require("last_stage", last_stage, last_stage in MIXED_STAGES, f"one of {', '.join(MIXED_STAGES)}")
        _require("bn_momentum", bn_momentum, 0 < bn_momentum <= 1, "a number above 0, up to 1")

        def c(channels: int) -> int:
            """Channels at this network's width."""
            return max(_CHANNEL_MULTIPLE, _CHANNEL_MULTIPLE * int(channels * width / _CHANNEL_MULTIPLE + 0.5))

        def mixed(before: int, b0: int, b1: tuple[int, int], b2: tuple[int, int], b3: int) -> Mixed:
            """Branch widths as in the paper; ``before`` is the channels that come in, already at this width."""
            return Mixed(before, c(b0), (c(b1[0]), c(b1[1])), (c(b2[0]), c(b2[1])), c(b3), gating=gating, layers=layers)

        layers = self.layers()
        conv1a_stride = (stem_temporal_stride, stem_spatial_stride, stem_spatial_stride)
        mixed3b = mixed(c(192), 64, (96, 128), (16, 32), 32)
        mixed3c = mixed(mixed3b.channels, 128, (128, 192), (32, 96), 64)
        mixed4b = mixed(mixed3c.channels, 192, (96, 208), (16, 48), 64)
        mixed4c = mixed(mixed4b.channels, 160, (112, 224), (24, 64), 64)
        mixed4d = mixed(mixed4c.channels, 128, (128, 256), (24, 64), 64)
        mixed4e = mixed(mixed4d.channels, 112, (144, 288), (32, 64), 64)
        mixed4f = mixed(mixed4e.channels, 256, (160, 320), (32, 128), 128)
        mixed5b = mixed(mixed4f.channels, 256, (160, 320), (32, 128), 128)
        mixed5c = mixed(mixed5b.channels, 384, (192, 384), (48, 128), 128)

        # Channels @ time × height × width, for the paper's clip and width.                      3 @ 64×224×224
        stages: tuple[nn.Module, ...] = (
            layers.stem(in_channels, c(64), conv1a_stride),  # Conv1a                           64 @ 32×112×112
            layers.pool((1, 3, 3), (1, 2, 2)),  # MaxPool2a                                     64 @ 32×56×56
            layers.pointwise(c(64), c(64)),  # Conv2b                                           64 @ 32×56×56
            layers.separable(c(64), c(192), gating),  # Conv2c                                 192 @ 32×56×56
            layers.pool((1, 3, 3), (1, 2, 2)),  # MaxPool3a                                    192 @ 32×28×28
            mixed3b,  #                                                                        256 @ 32×28×28
            mixed3c,  #                                                                        480 @ 32×28×28
            layers.pool((3, 3, 3), (2, 2, 2)),  # MaxPool4a                                    480 @ 16×14×14
            mixed4b,  #                                                                        512 @ 16×14×14
            mixed4c,  #                                                                        512 @ 16×14×14
            mixed4d,  #                                                                        512 @ 16×14×14
            mixed4e,  #                                                                        528 @ 16×14×14
            mixed4f,  #                                                                        832 @ 16×14×14
            layers.halve(),  # MaxPool5a                                                       832 @ 8×7×7
            mixed5b,  #                                                                        832 @ 8×7×7
            mixed5c,  #                                                                       1024 @ 8×7×7
        )
        last = stages[MIXED_STAGES[last_stage]]
        assert isinstance(last, Mixed)
        self.features = nn.Sequential(*stages[: MIXED_STAGES[last_stage] + 1])
        self.num_features = last.channels
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Identity())
        self.reset_classifier(num_classes)
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm3d):
                layer.momentum = bn_momentum

    def layers(self) -> Layers:
        """What it is made of."""
        return Layers(_stem, _separable, _pointwise, _pool, Halve)

    def forward_features(self, x: Tensor) -> Tensor:
        """[B,C,T,H,W] → [B,F,T',H',W'], with T' about T/8 and H', W' about H/32, W/32, and never less than 1."""
        return self.through(x)

    def through(self, x: Tensor, first: int = 0, last: int | None = None) -> Tensor:
        """Run what comes before stage ``first`` through it and on to the one before ``last``, or to the end."""
        for stage in list(self.features)[first:last]:
            x = self.run_stage(stage, x)
        return x

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """[B,F,T',H',W'] → [B,K]: average over windows of 2×7×7, score each window, average the scores."""
        window = [min(side, longest) for side, longest in zip(features.shape[2:], _HEAD_WINDOW, strict=True)]
        pooled = F.avg_pool3d(features, window, stride=1)  # [B,F,T'-1,1,1] for maps of 7×7
        scores: Tensor = pooled if pre_logits else self.classifier(pooled)  # [B,K,T'-1,1,1]
        return scores.mean(dim=(2, 3, 4))

    def reset_classifier(self, num_classes: int) -> None:
        """See :meth:`VideoNetwork.reset_classifier`."""
        self.num_classes = num_classes
        if num_classes == 0:
            self.classifier[1] = nn.Identity()
            return
        beside = self.stem.weight
        scores = nn.Conv3d(self.num_features, num_classes, 1, device=beside.device, dtype=beside.dtype)
        nn.init.trunc_normal_(scores.weight, std=0.01)
        nn.init.zeros_(scores.bias)  # type: ignore[arg-type]  # a Conv3d has one unless told otherwise
        self.classifier[1] = scores

    def adapt_checkpoint(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Let S3D-G start as the S3D that ``state`` holds, with the same outputs and gates that can learn.

        A gate of weight 0 is σ(0) = ½ everywhere. The normalisation before it doubles its scale and offset in turn,
        which the ReLU between them passes on.
        """
        adapted = dict(state)
        gates = {name: gate for name, gate in self.named_modules() if isinstance(gate, SelfGate)}
        if any(name.startswith(f"{gate}.") for gate in gates for name in state):
            return adapted
        for name, gate in gates.items():
            adapted[f"{name}.project.weight"] = torch.zeros_like(gate.project.weight, device="cpu")
            norm = _norm_before(name)
            for key in (f"{norm}.weight", f"{norm}.bias"):
                if key in state:
                    adapted[key] = 2 * state[key]
        return adapted


def conv_norm_relu(channels_in: int, channels_out: int, kernel: Triple, stride: Triple = (1, 1, 1)) -> nn.Sequential:
    """Convolution with zero padding that keeps the map's size at stride 1, batch normalisation, ReLU.

    The paper draws every convolution with σ = .01. In narrow layers that leaves responses below the normalisation's
    ε of .001, which then fades them layer by layer; He's variance is the same start without that, at every width.
    """
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    kind = TimeConv3d if stride[0] > 1 else nn.Conv3d
    conv = kind(channels_in, channels_out, kernel, stride, padding, bias=False)
    nn.init.kaiming_uniform_(conv.weight, nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm3d(channels_out, eps=1e-3), nn.ReLU(inplace=True))


class SelfGate(nn.Module):
    """§4.4: y = x ∘ σ(W · mean over time and space of x), one gate a channel, from the whole clip's context."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = nn.Conv3d(channels, channels, 1, bias=False)
        nn.init.trunc_normal_(self.project.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,T,H,W] → the same."""
        context = x.mean(dim=(2, 3, 4), keepdim=True)  # [B,C,1,1,1]
        return x * torch.sigmoid(self.project(context))


class SeparableConv(nn.Sequential):
    """§4.3: a k×k×k convolution as 1×k×k over space, then k×1×1 over time."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, *, stride: Triple = (1, 1, 1), gating: bool = False
    ) -> None:
        over_time, over_height, over_width = stride
        super().__init__(
            conv_norm_relu(channels_in, channels_out, (1, kernel, kernel), (1, over_height, over_width)),
            conv_norm_relu(channels_out, channels_out, (kernel, 1, 1), (over_time, 1, 1)),
        )
        if gating:
            self.add_module("gate", SelfGate(channels_out))


class Mixed(nn.Module):
    """An Inception block of four branches side by side, their channels stacked (fig. 3 of the paper).

    Args:
        before: Channels that come in.
        b0: 1×1×1.
        b1, b2: 1×1×1 to the first width, then separable 3×3×3 to the second.
        b3: 3×3×3 max pool, then 1×1×1.
        gating: Gate each branch's output.
        layers: What it is made of.
    """

    def __init__(
        self,
        before: int,
        b0: int,
        b1: tuple[int, int],
        b2: tuple[int, int],
        b3: int,
        *,
        gating: bool,
        layers: Layers,
    ) -> None:
        super().__init__()
        self.channels = b0 + b1[1] + b2[1] + b3
        self.branch0 = layers.pointwise(before, b0)
        self.branch1 = nn.Sequential(layers.pointwise(before, b1[0]), layers.separable(*b1, False))
        self.branch2 = nn.Sequential(layers.pointwise(before, b2[0]), layers.separable(*b2, False))
        self.branch3 = nn.Sequential(nn.MaxPool3d(3, stride=1, padding=1), layers.pointwise(before, b3))
        gate: Callable[[int], nn.Module] = SelfGate if gating else nn.Identity
        self.gate0, self.gate1, self.gate2, self.gate3 = gate(b0), gate(b1[1]), gate(b2[1]), gate(b3)

    def forward(self, x: Tensor) -> Tensor:
        """[B,before,T,H,W] → [B,channels,T,H,W]."""
        branches = (
            self.gate0(self.branch0(x)),
            self.gate1(self.branch1(x)),
            self.gate2(self.branch2(x)),
            self.gate3(self.branch3(x)),
        )
        return torch.cat(branches, dim=1)


class Halve(nn.Module):
    """2×2×2 max pool of stride 2; a side that is 1 already stays 1, where a fixed window would raise."""

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,T,H,W] → [B,C,⌊T/2⌋,⌊H/2⌋,⌊W/2⌋], no side less than 1."""
        return F.max_pool3d(x, [min(2, side) for side in x.shape[2:]], stride=2)


def _stem(channels_in: int, channels_out: int, stride: Triple) -> nn.Module:
    return SeparableConv(channels_in, channels_out, 7, stride=stride)


def _separable(channels_in: int, channels_out: int, gating: bool) -> nn.Module:
    return SeparableConv(channels_in, channels_out, 3, gating=gating)


def _pointwise(channels_in: int, channels_out: int) -> nn.Module:
    return conv_norm_relu(channels_in, channels_out, (1, 1, 1))


def _pool(kernel: Triple, stride: Triple) -> nn.Module:
    over_time, over_height, over_width = (side // 2 for side in kernel)
    return nn.MaxPool3d(kernel, stride=stride, padding=(over_time, over_height, over_width))


# The last normalisation before a gate: within the split convolution of Conv2c, or of the Mixed branch of its number.
_NORM_OF_BRANCH = {"gate0": "branch0.1", "gate1": "branch1.1.1.1", "gate2": "branch2.1.1.1", "gate3": "branch3.1.1"}


def _norm_before(gate: str) -> str:
    block, _, name = gate.rpartition(".")
    return f"{block}.{_NORM_OF_BRANCH.get(name, '1.1')}"


def _require(name: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise KineflowError(f"{name} of S3D must be {allowed}, not {value!r}", remedy=f"correct {name}")
