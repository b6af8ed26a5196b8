"""Tests of kineflow.models.time_conv."""

import pytest
import torch
import torch.nn.functional as F

from kineflow.models.time_conv import TimeConv3d


@pytest.mark.parametrize("frames", range(1, 10))
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_gradient_of_a_short_clip_is_that_of_its_equation(frames: int, channels_last: bool) -> None:
    layout = torch.channels_last_3d if channels_last else torch.contiguous_format
    torch.manual_seed(0)
    conv = TimeConv3d(8, 8, (7, 1, 1), (2, 1, 1), (3, 0, 0)).to(memory_format=layout)
    x = torch.rand(2, 8, frames, 4, 4)
    exact = conv.weight.detach().double().requires_grad_()
    expected = F.conv3d(
        x.double(), exact, conv.bias.detach().double(), (2, 1, 1), (3, 0, 0)
    )  # in double: another kernel
    expected.square().sum().backward()
    given = conv(x.contiguous(memory_format=layout))
    given.square().sum().backward()
    torch.testing.assert_close(given.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(conv.weight.grad.double(), exact.grad, rtol=1e-4, atol=1e-4)
