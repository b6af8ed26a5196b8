"""What VideoLSTM's networks are made of beside their cells: attention on maps, initial states, heads, and draws.

Equations and sources are in :mod:`kineflow.models.videolstm`.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from kineflow.models.conv_lstm import at_every_step
from kineflow.models.recurrent import State, StepHead, linear, require
from kineflow.models.scale import require_probability

AttentionNormalisation = Literal["softmax", "sigmoid"]


def draw_matrix(weight: Tensor, /, *, orthogonal: bool = True) -> None:  # noqa: ARG001
    """N(0, .1²), for the networks with vectors for states."""
    nn.init.normal_(weight, std=0.1)


def draw_kernel(weight: Tensor, /, *, orthogonal: bool = True) -> None:  # noqa: ARG001
    """Uniform in ±1/√n, n the input channels of a kernel [out,in,k,k] and the outputs of a matrix [out,in]."""
    n = weight.shape[1] if weight.ndim == 4 else weight.shape[0]
    nn.init.uniform_(weight, -(n**-0.5), n**-0.5)


class MapAttention(nn.Module):
    """A = softmax over cells of w_z * tanh(W_a * x + W_b * h + b) + c, all 1×1.

    Args:
        channels: C, of x.
        hidden: H, of h and of the tanh.
        normalisation: ``softmax`` over the cells; ``sigmoid`` for each by itself, a variant among the released code.
        rescale: Multiply A by the number of cells, so that its mean is 1: not the paper's.
        above: Channels of a second state that the tanh sees (W_e); 0 for none.
    """

    def __init__(
        self, channels: int, hidden: int, *, normalisation: AttentionNormalisation, rescale: bool, above: int = 0
    ) -> None:
        super().__init__()
        known = get_args(AttentionNormalisation)
        require("normalisation", normalisation, normalisation in known, f"one of {', '.join(known)}")
        self.normalisation, self.rescale = normalisation, rescale
        self.from_input = kernel_layer(channels, hidden, 1)
        self.from_state = kernel_layer(hidden, hidden, 1, bias=False)
        if above:
            self.from_above = kernel_layer(above, hidden, 1, bias=False)
        self.score = nn.Conv2d(hidden, 1, 1)
        # The authors store w_z as a matrix of one output, so that n is 1.
        nn.init.uniform_(self.score.weight, -1, 1)
        assert self.score.bias is not None
        nn.init.zeros_(self.score.bias)

    def keys(self, x: Tensor) -> Tensor:
        """What of Z does not wait for h: W_a * x + b, [B,T,H,h,w] of [B,T,C,h,w], all steps as one batch."""
        return at_every_step(self.from_input, x)

    def forward(self, keys: Tensor, hidden: Tensor, above: Tensor | None = None) -> Tensor:
        """A [B,1,h,w], of sum 1 by softmax, from keys and states [B,H,h,w]."""
        drive = keys + self.from_state(hidden)
        if above is not None:
            drive = drive + self.from_above(above)
        scores: Tensor = self.score(torch.tanh(drive))
        if self.normalisation == "sigmoid":
            return scores.sigmoid()
        return scores.flatten(2).softmax(dim=2).view_as(scores)

    def attend(self, weights: Tensor, x: Tensor) -> Tensor:
        """A ∘ x, [B,C,h,w]; times the number of cells with ``rescale``."""
        scale = x.shape[-2] * x.shape[-1] if self.rescale else 1
        return scale * weights * x


class InitialMaps(nn.Module):
    """h_0, c_0 = tanh(W * mean + b), a W of its own for each."""

    def __init__(self, channels: int, hidden: int, *, kernel: int) -> None:
        super().__init__()
        require("kernel", kernel, kernel > 0 and kernel % 2 == 1, "odd")
        self.hidden, self.memory = kernel_layer(channels, hidden, kernel), kernel_layer(channels, hidden, kernel)

    def forward(self, mean: Tensor) -> State:
        """From the mean map [B,C,h,w] to [B,H,h,w] each."""
        return State(torch.tanh(self.hidden(mean)), torch.tanh(self.memory(mean)))


class InitialVectors(nn.Module):
    """h_0, c_0 = tanh(W · mean + b), a W of its own for each."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.hidden, self.memory = (linear(channels, hidden, draw_matrix) for _ in range(2))

    def forward(self, mean: Tensor) -> State:
        """From the mean vector [B,C] to [B,H] each."""
        return State(torch.tanh(self.hidden(mean)), torch.tanh(self.memory(mean)))


def conv_head(hidden: int, grid: int, width: int, *, dropout: float, pool: bool) -> StepHead:
    """The head over states [B,T,H,g,g]: all of them flattened, or with ``pool`` their mean over the grid."""
    require("grid", grid, grid >= 1, "at least 1")
    require_probability("dropout", dropout)
    inputs = hidden if pool else hidden * grid**2
    return StepHead(inputs, width, dropout_state=0.0, dropout=dropout, draw=draw_kernel, pool=pool)


def kernel_layer(inputs: int, outputs: int, side: int, *, bias: bool = True) -> nn.Conv2d:
    """A convolution that keeps the map's size, its kernel by :func:`draw_kernel`, its bias 0."""
    layer = nn.Conv2d(inputs, outputs, side, padding=side // 2, bias=bias)
    draw_kernel(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
