"""Equations are tested with the networks, in test_videolstm; here is what each piece does by itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kineflow.models.map_attention import (
    InitialMaps,
    InitialVectors,
    MapAttention,
    conv_head,
    draw_kernel,
    draw_matrix,
    kernel_layer,
)
from kineflow.storage.errors import KineflowError

B, T, C, G, H = 2, 4, 5, 4, 6


def maps(channels: int = C) -> Tensor:
    return torch.randn(B, T, channels, G, G, generator=torch.Generator().manual_seed(1))


def test_sigmoid_attention_weighs_each_cell_by_itself() -> None:
    attention = MapAttention(C, H, normalisation="sigmoid", rescale=False)
    nn.init.zeros_(attention.score.weight)
    weights = attention(attention.keys(maps())[:, 0], torch.zeros(B, H, G, G))
    torch.testing.assert_close(weights, torch.full((B, 1, G, G), 0.5))


def test_keys_of_all_steps_at_once_are_those_of_each_step() -> None:
    torch.manual_seed(0)
    attention, x = MapAttention(C, H, normalisation="softmax", rescale=False), maps()
    for step, keys in enumerate(attention.keys(x).unbind(dim=1)):
        torch.testing.assert_close(keys, attention.from_input(x[:, step]))


@pytest.mark.parametrize("above", [0, 3])
def test_a_state_above_is_seen_where_there_is_one(above: int) -> None:
    torch.manual_seed(0)
    attention = MapAttention(C, H, normalisation="softmax", rescale=False, above=above)
    keys, state = attention.keys(maps())[:, 0], torch.zeros(B, H, G, G)
    assert hasattr(attention, "from_above") == bool(above)
    if above:
        seen = torch.randn(B, above, G, G)
        assert not torch.allclose(attention(keys, state, seen), attention(keys, state))


def test_attention_knows_its_normalisations() -> None:
    with pytest.raises(KineflowError, match=r"normalisation(.|\n)*softmax, sigmoid"):
        MapAttention(C, H, normalisation="hard", rescale=False)  # type: ignore[arg-type]


def test_initial_states_have_a_map_of_their_own_each() -> None:
    torch.manual_seed(0)
    for initial, mean in ((InitialMaps(C, H, kernel=3), maps()[:, 0]), (InitialVectors(C, H), maps()[:, 0, :, 0, 0])):
        state = initial(mean)
        assert state.hidden.shape == state.memory.shape == (B, H, *mean.shape[2:])
        assert not torch.equal(state.hidden, state.memory)
        torch.testing.assert_close(state.memory, torch.tanh(initial.memory(mean)))


def test_kernels_need_a_centre_and_keep_the_map() -> None:
    with pytest.raises(KineflowError, match="odd"):
        InitialMaps(C, H, kernel=2)
    for side in (1, 3, 5):
        assert kernel_layer(C, H, side)(maps()[:, 0]).shape == (B, H, G, G)
    assert kernel_layer(C, H, 1, bias=False).bias is None


def test_the_head_sees_every_cell_or_their_mean() -> None:
    flat, pooled = (conv_head(H, G, 7, dropout=0.0, pool=pool) for pool in (False, True))
    states = maps(H)
    assert (flat.inputs, pooled.inputs) == (H * G * G, H)
    torch.testing.assert_close(pooled(states), pooled(states.mean(dim=(3, 4), keepdim=True).expand_as(states)))
    assert flat(states).shape == (B, T, 7)


def test_draws_have_the_published_spread() -> None:
    torch.manual_seed(0)
    kernel, matrix = torch.empty(64, 25, 3, 3), torch.empty(64, 100)
    draw_kernel(kernel)
    assert 0.19 < kernel.abs().max() <= 1 / 5  # 25 channels come in
    draw_kernel(matrix)
    assert 0.12 < matrix.abs().max() <= 1 / 8  # 64 go out
    draw_matrix(matrix)
    assert matrix.std().item() == pytest.approx(0.1, rel=0.05)
