"""What a training step of a network takes, counted on tensors without data; and what this machine does a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from kineflow.models.network import Network

_RATE_SEC = 0.3
_CHANNELS, _FRAMES, _SIDE = 64, 8, 56


@dataclass(frozen=True)
class StepCost:
    """Of one clip.

    Attributes:
        operations: Floating point operations of its convolutions and products, forward and backward.
        forward_operations: The same, forward alone.
        kept_bytes: What is kept in float32 for the backward pass.
        weight_bytes: Of the network's weights, whatever the number of clips.
    """

    operations: float
    forward_operations: float
    kept_bytes: float
    weight_bytes: float


def count_step(build: Callable[[], Network], clip: tuple[int, ...]) -> StepCost:
    """Count a training step of a network; nothing is computed.

    Args:
        build: Makes the network.
        clip: Shape of its input without the batch, [C,T,H,W].
    """
    kept: dict[int, Tensor] = {}  # by storage: views of one tensor take its memory once

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.device("meta"):
        network, x = build().train(), torch.zeros(1, *clip)
        with torch.no_grad(), FlopCounterMode(display=False) as forward:
            network(x)
        with (
            FlopCounterMode(display=False) as step,
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        ):
            network(x).sum().backward()
    weights = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    return StepCost(
        operations=float(step.get_total_flops()),
        forward_operations=float(forward.get_total_flops()),
        kept_bytes=float(
            sum(each.untyped_storage().nbytes() for storage, each in kept.items() if storage not in weights)
        ),
        weight_bytes=float(sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())),
    )


def operations_a_second() -> float:
    """What this machine does of a wide 3-D convolution, forward and backward, in ``auto``'s precision: measured."""
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    dtype = torch.bfloat16 if on_gpu and torch.cuda.is_bf16_supported() else torch.float32
    layer = torch.nn.Conv3d(_CHANNELS, _CHANNELS, 3, padding=1, device=device, dtype=dtype)
    x = torch.ones(16 if on_gpu else 1, _CHANNELS, _FRAMES, _SIDE, _SIDE, device=device, dtype=dtype)
    with FlopCounterMode(display=False) as counter:
        layer(x.requires_grad_()).sum().backward()  # the first one also chooses how to compute
    steps, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < _RATE_SEC:
        layer(x).sum().backward()
        if on_gpu:
            torch.cuda.synchronize()
        steps += 1
    return float(steps * counter.get_total_flops() / (time.perf_counter() - begun))
