"""Operations of the networks, counted by PyTorch on tensors without data, and bytes of their weights."""

from __future__ import annotations

import sys

import torch
from scale_model.figures import Networks
from torch.utils.flop_counter import FlopCounterMode

from kineflow.models.registry import create_model

_SIDE, _FRAMES, _CLASSES, _FLOAT = 224, 64, 400, 4


def measure(_quick: bool) -> Networks:
    """S3D-G as in D3D (64 frames of 224 x 224), and TSN's BN-Inception a snippet."""
    print("networks", file=sys.stderr)
    rgb, rgb_bytes = _counts("s3d_g", 3, {})
    flow, _ = _counts("s3d_g", 2, {})
    # A snippet is one frame, five fields of two planes, or five differences.
    tsn_rgb, tsn_bytes = _counts("tsn", 3, {"snippet_frames": 1, "segments": 1})
    tsn_flow, _ = _counts("tsn", 2, {"snippet_frames": 5, "segments": 1})
    tsn_difference, _ = _counts("tsn", 3, {"snippet_frames": 5, "segments": 1})
    return Networks(
        s3d_rgb_forward=rgb[0], s3d_rgb_step=rgb[1], s3d_flow_forward=flow[0], s3d_flow_step=flow[1],
        s3d_bytes=rgb_bytes, tsn_rgb_forward=tsn_rgb[0], tsn_rgb_step=tsn_rgb[1], tsn_flow_forward=tsn_flow[0],
        tsn_flow_step=tsn_flow[1], tsn_difference_step=tsn_difference[1], tsn_bytes=tsn_bytes,
    )  # fmt: skip


def _counts(name: str, channels: int, keywords: dict[str, int]) -> tuple[tuple[float, float], float]:
    """Operations of a forward pass and of a training step of one clip, and bytes of the weights."""
    with torch.device("meta"):
        network = create_model(name, num_classes=_CLASSES, in_channels=channels, **keywords)
        clip = torch.zeros(1, channels, keywords.get("snippet_frames", _FRAMES), _SIDE, _SIDE)
        network.eval()
        with torch.no_grad(), FlopCounterMode(display=False) as forward:
            network(clip)
        network.train()
        with FlopCounterMode(display=False) as step:
            network(clip).sum().backward()
    weights = sum(tensor.numel() for tensor in network.state_dict().values())
    return (float(forward.get_total_flops()), float(step.get_total_flops())), float(_FLOAT * weights)
