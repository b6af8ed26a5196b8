from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn

from kineflow.models.flow_decoder import PWCDecoder, create_decoder
from kineflow.models.stage_names import DecoderName
from kineflow.storage.errors import KineflowError

NAMES = get_args(DecoderName)
# Maps of S3D on a clip of 64×224×224 (test_stages.py has them all): channels, time, height, width.
FULL_SIZE = ((64, 32, 112, 112), (192, 32, 56, 56), (480, 32, 28, 28), (528, 16, 14, 14), (1024, 8, 7, 7))


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def randomised(decoder: nn.Module) -> nn.Module:
    """Decoders answer 0 at first, which hides what they would do."""
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.normal_(std=0.05)
    return decoder


@pytest.mark.parametrize("name", NAMES)
def test_flow_at_the_resolution_of_every_stage_of_the_full_size(name: DecoderName) -> None:
    with torch.device("meta"):
        for channels, *size in FULL_SIZE:
            flow = create_decoder(name, channels)(torch.empty(1, channels, *size))
            assert flow.shape == (1, 2, *size)


@pytest.mark.parametrize("name", NAMES)
def test_every_kernel_spans_one_time_step(name: DecoderName) -> None:
    convolutions = [layer for layer in create_decoder(name, 6).modules() if isinstance(layer, nn.Conv3d)]
    assert {layer.kernel_size for layer in convolutions} == {(1, 3, 3)}
    assert {layer.stride for layer in convolutions} == {(1, 1, 1)}


@pytest.mark.parametrize("name", NAMES)
def test_a_time_step_is_decoded_from_its_own_features_alone(name: DecoderName) -> None:
    torch.manual_seed(0)
    decoder, features = randomised(create_decoder(name, 6)), torch.randn(2, 6, 5, 8, 8)
    with torch.no_grad():
        before = decoder(features)
        features[:, :, 3] += 1
        changed = (decoder(features) != before).flatten(3).any(dim=3)  # [B,2,T]
    assert changed[:, :, 3].all()
    assert not changed[:, :, [0, 1, 2, 4]].any()


@pytest.mark.parametrize("name", NAMES)
def test_the_first_answer_is_no_motion_and_it_can_be_learnt(name: DecoderName) -> None:
    torch.manual_seed(0)
    decoder = create_decoder(name, 6)
    optimiser = torch.optim.SGD(decoder.parameters(), lr=0.1)
    features = torch.randn(1, 6, 2, 4, 4)
    assert not decoder(features).any()
    for _ in range(2):  # the last layer moves first, and then lets a gradient into those before it
        optimiser.zero_grad()
        (decoder(features) - 1).square().mean().backward()
        optimiser.step()
    assert all(parameter.grad.any() for parameter in decoder.parameters())


def test_parameter_counts() -> None:
    """From 480 channels (Mixed3c); and, as PWC-Net's own second level has it, from 117."""
    counts = {name: parameters(create_decoder(name, 480)) for name in NAMES}
    spatial = sum(
        9 * before * after + after for before, after in ((480, 128), (128, 128), (128, 96), (96, 64), (64, 32))
    )
    assert counts == {
        "simple": 9 * 480 * 2 + 2,
        "spatial": spatial + 9 * 32 * 2 + 2,
        "pwc": 2_627_008 + 16_706 + 1_549_442,
    }
    pwc = PWCDecoder(117)
    assert pwc.flow.in_channels == 117 + 448 == 565
    assert parameters(pwc.context) == sum(
        9 * before * after + after
        for before, after in ((565, 128), (128, 128), (128, 128), (128, 96), (96, 64), (64, 32), (32, 2))
    )


def test_pwc_s_context_is_dilated_over_space() -> None:
    dilations = [layer.dilation for layer in PWCDecoder(4).context.modules() if isinstance(layer, nn.Conv3d)]
    assert dilations == [(1, d, d) for d in (1, 2, 4, 8, 16, 1, 1)]


def test_pwc_sees_all_layers_before_and_adds_its_refinement() -> None:
    torch.manual_seed(0)
    decoder, features = randomised(PWCDecoder(4)), torch.randn(1, 4, 2, 6, 6)
    assert isinstance(decoder, PWCDecoder)
    with torch.no_grad():
        seen = features
        for layer in decoder.dense:
            seen = torch.cat([layer(seen), seen], dim=1)
        torch.testing.assert_close(decoder(features), decoder.flow(seen) + decoder.context(seen))
        assert torch.equal(seen[:, -4:], features)


def test_an_unknown_decoder() -> None:
    with pytest.raises(KineflowError, match="choose one of: simple, spatial, pwc"):
        create_decoder("raft", 4)  # type: ignore[arg-type]
