"""What can be seen in one process; what several compute is compared in ``test_distributed.py``."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kineflow.training.synchronised_norm import synchronised_norms


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4), nn.Dropout(0.5)).eval()


def test_layers_in_evaluation_mode_do_as_ever_and_talk_to_nobody() -> None:
    layers, clips = network(), torch.rand(2, 3, 2, 4, 4)
    expected = layers(clips)
    with synchronised_norms(layers):
        assert torch.equal(layers(clips), expected)


@pytest.mark.parametrize("fails", [False, True], ids=["well", "by an error"])
def test_layers_are_what_they_were_however_the_block_ends(fails: bool) -> None:
    layers = network().train()
    names, kinds = list(layers.state_dict()), [type(layer) for layer in layers.modules()]
    try:
        with synchronised_norms(layers):
            assert list(layers.state_dict()) == names
            assert [type(layer) for layer in layers.modules()] == kinds
            if fails:
                raise InterruptedError
    except InterruptedError:
        assert fails
    assert all("forward" not in vars(layer) for layer in layers.modules())
    assert layers(torch.rand(2, 3, 2, 4, 4)).shape == (2, 4, 2, 4, 4)
