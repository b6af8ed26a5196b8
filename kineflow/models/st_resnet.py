"""ST-ResNet: two residual networks, one for appearance and one for motion, joined unit by unit and over time.

Feichtenhofer, Pinz, Wildes, "Spatiotemporal Residual Networks for Video Action Recognition", NIPS 2016. Two ResNet-50
see T steps of a clip each: appearance a frame (3 channels), motion the stack of flow frames around it (20 channels, for
10 of them u₁,v₁,u₂,v₂,…). In each of the four stages the first unit (a) is as it was, the second (b) is changed twice,
and the others are as they were.

**Motion residuals** (eq. 2). With x^a and x^m what the two units a have before their ReLU f, unit b of appearance is ::

    x̂^a = f( f(x^a) + F(x^a + f(x^m); W^a) )         add
    x̂^a = f( f(x^a) + F(x^a ∘ f(x^m); W^a) )         multiply, of the sequel (CVPR 2017)
    x̂^m = f( f(x^m) + F(f(x^m); W^m) )               as in any residual network

The residual F sees x^a before its ReLU and x^m after it; the shortcut carries f(x^a) and nothing of motion. Gradients
return through the injection into the motion stream (eq. 4).

**Temporal convolutions** (eq. 5). Both 1×1 convolutions of unit b, in both streams, are 1×1×3: three taps over time,
zeros beyond the ends. They start from the image network's kernel w as taps that sum to w, so that a clip which stands
still gives the image network's very response at each step that is 8 or more from both ends (for a unit by itself, 2):

==============  ==============================================================
``average``     w/3, w/3, w/3, the paper's
``centre``      0, w, 0
``difference``  -w, 3w, -w
``random``      drawn anew, for the ablation
==============  ==============================================================

ST-ResNet* is the same with a max over 5 steps, stride 2, after the last unit: T = 11 leaves 4 steps, 25 leave 11. Each
stream then has a classifier, and answers at every step; the prediction is the mean of all logits before the softmax.
For 101 classes there are 58,624,394 parameters, 5,570,560 of them a stream for the taps over time. Frames and clips may
have any size from 3 px and one step on: the network is convolutional over space and time.

Training is in three steps: two ResNet-50 by themselves, ST-ResNet from these (:func:`warm_start`), ST-ResNet* from that
(:func:`warm_start_star`); :mod:`kineflow.training.two_stream` has the loss and the schedules. The input is the modality
``rgb_flow`` (:mod:`kineflow.spec.modality`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kineflow.models.network import VideoNetwork, require_same_tensors, shapes
from kineflow.models.registry import register_model
from kineflow.models.resnet import Bottleneck, ResNet50, resnet50
from kineflow.models.scale import require_probability
from kineflow.spec.modality import RGB_CHANNELS
from kineflow.storage.errors import KineflowError

Injection = Literal["add", "multiply"]
Direction = Literal["motion_to_appearance", "appearance_to_motion", "both", "none"]
TemporalInit = Literal["average", "centre", "difference", "random"]


_TEMPORAL_TAPS = 3
_POOL_STEPS, _POOL_STRIDE = 5, 2
_TAPS = {"average": (1 / 3, 1 / 3, 1 / 3), "centre": (0.0, 1.0, 0.0), "difference": (-1.0, 3.0, -1.0)}


class StreamScores(NamedTuple):
    """Logits of the two streams at every step, float [B,T',K] each; headless, their pooled features [B,T',F]."""

    appearance: Tensor
    motion: Tensor


@register_model
def st_resnet(
    *,
    num_classes: int,
    in_channels: int = 23,
    width: float = 1.0,
    dropout: float = 0.0,
    output_stride: int = 32,
    caffe: bool = False,
    injection: Injection = "add",
    direction: Direction = "motion_to_appearance",
    temporal_init: TemporalInit = "average",
    temporal_pool: bool = False,
    freeze_norm: bool = False,
) -> STResNet:
    """ST-ResNet, with ``temporal_pool`` ST-ResNet*; for the keywords see :class:`STResNet`."""
    return STResNet(
        num_classes=num_classes,
        in_channels=in_channels,
        width=width,
        dropout=dropout,
        output_stride=output_stride,
        caffe=caffe,
        injection=injection,
        direction=direction,
        temporal_init=temporal_init,
        temporal_pool=temporal_pool,
        freeze_norm=freeze_norm,
    )


class STResNet(VideoNetwork):
    """ST-ResNet.

    A clip is one tensor [B,3+M,T,H,W]: frames first, and at each step the M channels of its flow frames. So a clip is
    normalised, batched and scored as any other, with one mean and deviation for each of the 3+M channels.

    Args:
        num_classes: K; 0 leaves the classifiers out.
        in_channels: 3+M, with M two channels for each flow frame; 23 in the paper.
        width, output_stride, caffe: Of both streams, as in :class:`ResNet50`.
        dropout: Before each classifier. The paper has it in the motion stream alone, and there only while that is
            trained by itself.
        injection: How motion enters the residual.
        direction: Which stream is injected into the other. All but the first are for the ablation: appearance that
            enters the motion stream lets both losses be decided by appearance.
        temporal_init: How the taps over time start.
        temporal_pool: Take the maximum over 5 steps at the end, as ST-ResNet* does. A shorter clip leaves one step.
        freeze_norm: Let normalisation keep its running statistics in training as well, for batches of a few clips.

    Attributes:
        appearance, motion: The streams. They are run unit by unit from here; by itself, a stream takes each image for
            a clip of one step.

    Raises:
        KineflowError: A value is out of its range.
    """

    stem_name = "appearance.conv1"
    has_separate_stages = True
    classifier_name = "classifier"
    classifier: nn.ModuleDict

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        width: float,
        dropout: float,
        output_stride: int,
        caffe: bool,
        injection: Injection,
        direction: Direction,
        temporal_init: TemporalInit,
        temporal_pool: bool,
        freeze_norm: bool,
    ) -> None:
        super().__init__()
        _require_one_of("injection", injection, get_args(Injection))
        _require_one_of("direction", direction, get_args(Direction))
        _require_one_of("temporal_init", temporal_init, get_args(TemporalInit))
        require_probability("dropout", dropout)
        if in_channels <= RGB_CHANNELS:
            raise KineflowError(
                f"ST-ResNet cannot see frames and flow in {in_channels} channels",
                remedy="give in_channels 3 for the frame and 2 for each flow frame, 23 for the paper's 10 of them",
            )
        self.injection, self.direction, self.temporal_init = injection, direction, temporal_init
        self.temporal_pool, self.freeze_norm = temporal_pool, freeze_norm

        def stream(channels: int) -> ResNet50:
            network = resnet50(
                num_classes=0, in_channels=channels, width=width, output_stride=output_stride, caffe=caffe
            )
            for stage in network.stages:
                stage[1] = TemporalBottleneck(stage[1], temporal_init)
            return network

        self.appearance = stream(RGB_CHANNELS)
        self.motion = stream(in_channels - RGB_CHANNELS)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.ModuleDict()
        self.num_features = self.appearance.num_features + self.motion.num_features
        self.reset_classifier(num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """[B,3+M,T,H,W] → [B,2F,T',⌈H/32⌉,⌈W/32⌉], appearance first; T' is T, or about T/2 with ``temporal_pool``."""
        steps = x.shape[2]
        images = x.transpose(1, 2).flatten(0, 1)  #                         B·T images of 3+M @ 224×224
        rgb, flow = images[:, :RGB_CHANNELS], images[:, RGB_CHANNELS:]
        appearance = self.run_stage(self.appearance.forward_stem, rgb)  #         64 @ 56×56
        motion = self.run_stage(self.motion.forward_stem, flow)  #                64 @ 56×56
        for stage_a, stage_m in zip(self.appearance.stages, self.motion.stages, strict=True):
            # 256 @ 56×56, 512 @ 28×28, 1024 @ 14×14, 2048 @ 7×7
            appearance, motion = self.run_stage(self._joined, stage_a, stage_m, appearance, motion, steps)
            for unit in _units(stage_a)[2]:
                appearance = self.run_stage(unit, appearance)
            for unit in _units(stage_m)[2]:
                motion = self.run_stage(unit, motion)
        features = _as_clips(torch.cat((appearance, motion), dim=1), steps)  #         4096 @ T×7×7
        if self.temporal_pool:
            window = min(_POOL_STEPS, steps)
            features = F.max_pool3d(features, (window, 1, 1), stride=(_POOL_STRIDE, 1, 1))  # 4096 @ T'×7×7
        return features

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """[B,2F,T',h,w] → [B,K], the mean over streams and steps; with ``pre_logits`` the pooled features [B,2F]."""
        if pre_logits or not self.num_classes:
            return features.mean(dim=(2, 3, 4))
        scores = self.score_streams(features)
        return (scores.appearance + scores.motion).mean(dim=1) / 2

    def forward_streams(self, x: Tensor) -> StreamScores:
        """The logits that are trained, [B,T',K] a stream, of clips [B,3+M,T,H,W]."""
        return self.score_streams(self.forward_features(x))

    def score_streams(self, features: Tensor) -> StreamScores:
        """Each stream's logits [B,T',K] from a feature map [B,2F,T',h,w]: mean over the map, then its classifier."""
        pooled = self.dropout(features.mean(dim=(3, 4)).transpose(1, 2))  # [B,T',2F]
        border = self.appearance.num_features
        return StreamScores(
            appearance=self.classifier["appearance"](pooled[..., :border]),
            motion=self.classifier["motion"](pooled[..., border:]),
        )

    def stage_modules(self) -> tuple[tuple[str, ...], ...]:
        """Those of both streams together."""
        streams = ("appearance", "motion")
        return tuple(
            tuple(f"{stream}.{name}" for stream in streams for name in stage)
            for stage in self.appearance.stage_modules()
        )

    def reset_classifier(self, num_classes: int) -> None:
        """See :meth:`Network.reset_classifier`; both streams get one."""
        self.num_classes = num_classes
        beside = self.stem.weight
        for name, stream in (("appearance", self.appearance), ("motion", self.motion)):
            self.classifier[name] = nn.Identity()
            if num_classes:
                scores = nn.Linear(stream.num_features, num_classes, device=beside.device, dtype=beside.dtype)
                nn.init.normal_(scores.weight, std=0.01)
                nn.init.zeros_(scores.bias)
                self.classifier[name] = scores

    def train(self, mode: bool = True) -> STResNet:
        """Set the mode; with ``freeze_norm`` normalisation stays in evaluation."""
        super().train(mode)
        if self.freeze_norm:
            for layer in self.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.eval()
        return self

    def _joined(
        self, stage_a: nn.Sequential, stage_m: nn.Sequential, appearance: Tensor, motion: Tensor, steps: int
    ) -> tuple[Tensor, Tensor]:
        """Both streams through two units of a stage, [B·T,C,H,W] each, with the injection between the two."""
        first_a, second_a, _ = _units(stage_a)
        first_m, second_m, _ = _units(stage_m)
        sum_a = first_a.shortcut(appearance) + first_a.residual(appearance)  # x^a, before the ReLU
        sum_m = first_m.shortcut(motion) + first_m.residual(motion)  # x^m
        seen_a = appearance = F.relu(sum_a)
        seen_m = motion = F.relu(sum_m)
        if self.direction in ("motion_to_appearance", "both"):
            seen_a = self._injected(sum_a, motion)
        if self.direction in ("appearance_to_motion", "both"):
            seen_m = self._injected(sum_m, appearance)
        appearance = F.relu(appearance + second_a.residual(seen_a, steps))
        motion = F.relu(motion + second_m.residual(seen_m, steps))
        return appearance, motion

    def _injected(self, own_sum: Tensor, other: Tensor) -> Tensor:
        """What the residual sees: its stream before the ReLU, and the other stream after it."""
        return own_sum + other if self.injection == "add" else own_sum * other


class TemporalBottleneck(nn.Module):
    """A bottleneck unit whose two 1×1 convolutions are 1×1×3: ``plain`` with three taps over time.

    Images [B·T,C,H,W] are T steps each of B clips. The names of the weights are those of ``plain``.

    Args:
        plain: A unit that changes no shape; its normalisation and 3×3 convolution are taken over as they are.
        init: How the taps start from its kernels.
    """

    def __init__(self, plain: nn.Module, init: TemporalInit) -> None:
        super().__init__()
        assert isinstance(plain, Bottleneck)
        assert plain.downsample is None
        self.conv1 = _temporal(plain.conv1, init)
        self.bn1 = plain.bn1
        self.conv2 = plain.conv2
        self.bn2 = plain.bn2
        self.conv3 = _temporal(plain.conv3, init)
        self.bn3 = plain.bn3

    def forward(self, x: Tensor, steps: int = 1) -> Tensor:
        """[B·T,C,H,W] → the same, T being ``steps``."""
        return F.relu(x + self.residual(x, steps))

    def residual(self, x: Tensor, steps: int = 1) -> Tensor:
        """F(x), after its last normalisation: it may be negative."""
        x = F.relu(self.bn1(over_time(self.conv1, x, steps)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        x = self.bn3(over_time(self.conv3, x, steps))
        return x


def inflate(kernel: Tensor, init: TemporalInit) -> Tensor:
    """A kernel of three taps over time [out,in,3,1] from one without time, [out,in,1,1] (eq. 5).

    All but ``random`` sum to ``kernel``; ``random`` takes its shape alone and draws by He's rule from torch's global
    generator.
    """
    if init == "random":
        drawn = kernel.new_empty((*kernel.shape[:2], _TEMPORAL_TAPS, 1))
        return nn.init.kaiming_normal_(drawn, mode="fan_out", nonlinearity="relu")
    return torch.cat([tap * kernel for tap in _TAPS[init]], dim=2)


def over_time(layer: nn.Conv2d, images: Tensor, steps: int) -> Tensor:
    """Apply a convolution of three taps over time to images [B·T,C,H,W], without a copy if these are channels-last.

    To it a clip is one map of T × H·W. On a CPU, for the paper's maps, that takes 1.4 to 4.6 times less than ``conv3d``
    forwards, and with the way back from about as long to 2.7 times less (``benchmarks/st_resnet.py``).
    """
    clips = _as_clips(images, steps)  # [B,C,T,H,W]
    moved: Tensor = layer(clips.flatten(3))  # [B,C',T,H·W]
    return moved.reshape(*moved.shape[:3], *images.shape[2:]).transpose(1, 2).flatten(0, 1)


def warm_start(network: STResNet, *, appearance: ResNet50, motion: ResNet50) -> tuple[str, ...]:
    """Start ST-ResNet from the two streams that were trained by themselves: the second step of training.

    Returns:
        Names of the weights that no stream has and that stay as they are: with ``random`` the taps over time.

    Raises:
        KineflowError: Widths, classes, channels or strides differ.
    """
    own = network.state_dict()
    given: dict[str, Tensor] = {}
    fresh: list[str] = []
    for stream, trained in (("appearance", appearance), ("motion", motion)):
        _require_same_strides(network.get_submodule(stream), trained, where=f"{stream} stream")
        for key, tensor in trained.state_dict().items():
            name = f"classifier.{stream}.{key[3:]}" if key.startswith("fc.") else f"{stream}.{key}"
            if name not in own or own[name].shape[2:] != (_TEMPORAL_TAPS, 1):
                given[name] = tensor
            elif network.temporal_init == "random":
                fresh.append(name)
            else:
                given[name] = inflate(tensor, network.temporal_init)
    _fill(network, {name: tensor for name, tensor in own.items() if name not in fresh}, given)
    return tuple(fresh)


def warm_start_star(network: STResNet, *, before: STResNet) -> None:
    """Start ST-ResNet* from a trained ST-ResNet, whose weights it has all: the third step of training.

    Raises:
        KineflowError: The two differ in more than ``temporal_pool``, ``dropout`` and how they were initialised.
    """
    for name in ("injection", "direction"):
        if (wanted := getattr(before, name)) != (given := getattr(network, name)):
            raise KineflowError(
                f"{name} is {given!r} and was {wanted!r} in the network it continues",
                where="warm start of ST-ResNet*",
                remedy=f"build both with the same {name}",
            )
    _require_same_strides(network, before, where="warm start of ST-ResNet*")
    _fill(network, network.state_dict(), before.state_dict())


def _units(stage: nn.Sequential) -> tuple[Bottleneck, TemporalBottleneck, nn.Sequential]:
    """Unit a, unit b, and the rest of a stage."""
    first, second, others = stage[0], stage[1], stage[2:]
    assert isinstance(first, Bottleneck)
    assert isinstance(second, TemporalBottleneck)
    assert isinstance(others, nn.Sequential)
    return first, second, others


def _temporal(plain: nn.Conv2d, init: TemporalInit) -> nn.Conv2d:
    kernel = plain.weight.detach()
    layer = nn.Conv2d(
        plain.in_channels,
        plain.out_channels,
        (_TEMPORAL_TAPS, 1),
        padding=(_TEMPORAL_TAPS // 2, 0),
        bias=False,
        device=kernel.device,
        dtype=kernel.dtype,
    )
    layer.weight = nn.Parameter(inflate(kernel, init))
    return layer


def _as_clips(images: Tensor, steps: int) -> Tensor:
    """[B·T,C,H,W] → [B,C,T,H,W]."""
    return images.reshape(-1, steps, *images.shape[1:]).transpose(1, 2)


def _fill(network: STResNet, expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    require_same_tensors(
        shapes(expected),
        shapes(given),
        where="warm start of ST-ResNet",
        remedy="build the networks with the same width and classes, and flow of as many channels",
    )
    network.load_state_dict(given, strict=False)


def _require_same_strides(network: nn.Module, trained: nn.Module, *, where: str) -> None:
    """Equal weights serve other strides as well, and serve them badly; shapes would not tell."""
    if _strides(network) != _strides(trained):
        raise KineflowError(
            "the strides of the two networks differ",
            where=where,
            remedy="build both with the same output_stride and caffe",
        )


def _strides(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: layer.stride for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)}


def _require_one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise KineflowError(
            f"{name} of ST-ResNet is one of {', '.join(choices)}, not {value!r}", remedy=f"correct {name}"
        )
