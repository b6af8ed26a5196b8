"""ALSTM: recurrent soft attention over the cells of a feature map.

Sharma, Kiros, Salakhutdinov, "Action Recognition using Visual Attention", ICLR workshop 2016 (arXiv 1511.04119).
A frozen GoogLeNet gives X_t, 7×7 cells of 1024 channels (``inception5b``), so N = 49 regions X_{t,i}::

    l_t = softmax_i(W_i · h_{t-1})                     §3.2, h of the top layer
    x_t = Σ_i l_{t,i} X_{t,i}                          the expected slice
    h_t, c_t = stacked LSTM(x_t, h_{t-1}, c_{t-1})     three layers of 512
    ŷ_t = softmax(W_2 tanh(W_1 h_t + b_1) + b_2)       at every step

    h_0, c_0 = tanh(f(mean of X over steps and cells)), an f of its own for each layer, for h and for c

The released code differs: one layer, and an attention that sees the features. Both are here (``attention``)::

    e_{t,i} = u · tanh(W_c X_{t,i} + W_d h_{t-1} + b) + c,    l_t = softmax_i(e_t)

With ``attention_layers`` of n, n-1 more layers follow W_c, with tanh between those but neither before the first nor
after the last (HMDB-51's configuration has 3). Its scalar gate on x_t and its path from x_t to the output, both off in
every published configuration, are left out.

Dropout is on all connections that are not recurrent and come after the first layer, inverted as usual (the released
code scales at test instead). Weights are drawn as released: square matrices orthogonal, W_c excepted, all others
N(0, .01²), gate by gate; biases, the forget gate's among them, start at 0.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from kineflow.models.frame_networks import FrameNetwork, frame_network, register_frame_network
from kineflow.models.recurrent import (
    Draw,
    LSTMCell,
    SequenceNetwork,
    State,
    StepHead,
    Unrolled,
    held,
    linear,
    mean_over_steps,
    require,
)
from kineflow.models.scale import require_probability
from kineflow.storage.errors import KineflowError

Attention = Literal["location", "additive", "average", "max"]

_MOST_LAYERS = 100


def draw_as_alstm(weight: Tensor, /, *, orthogonal: bool = True) -> None:
    """Orthogonal, if it is square and may be, else N(0, .01²)."""
    if orthogonal and weight.shape[0] == weight.shape[1]:
        nn.init.orthogonal_(weight)
    else:
        nn.init.normal_(weight, std=0.01)


class ALSTM(SequenceNetwork):
    """ALSTM, or one of its baselines. It reads regions [B,T,N,C], or maps [B,T,C,h,w] with N cells row by row.

    Args:
        num_classes: K; 0 leaves the classifier out.
        in_channels: C, of a region.
        cells: N, regions of a frame.
        hidden: H, of each LSTM layer; 1024 for HMDB-51.
        head_width: D, of the tanh layer; 1024 for HMDB-51.
        layers: LSTM layers: 3 in the paper, 1 in the released code.
        attention: ``location``, the paper's; ``additive``, the released code's; ``average`` or ``max`` pool the cells
            instead, all else alike.
        attention_layers: Layers on the features in the additive attention.
        dropout: Between LSTM layers, before the tanh layer and after it.
        multi_label, scored_steps: See :class:`SequenceNetwork`.

    Attributes:
        draw: How weights are drawn.

    Raises:
        KineflowError: A value is out of its range.
    """

    draw: Draw = staticmethod(draw_as_alstm)

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int = 1024,
        cells: int = 49,
        hidden: int = 512,
        head_width: int = 512,
        layers: int = 3,
        attention: Attention = "location",
        attention_layers: int = 1,
        dropout: float = 0.5,
        multi_label: bool = False,
        scored_steps: int = 0,
    ) -> None:
        super().__init__()
        draw = self.draw
        for name, value in {"cells": cells, "hidden": hidden, "head_width": head_width}.items():
            require(name, value, value >= 1, "at least 1")
        require("scored_steps", scored_steps, scored_steps >= 0, "at least 0")
        require("attention", attention, attention in get_args(Attention), f"one of {', '.join(get_args(Attention))}")
        for name, value in {"layers": layers, "attention_layers": attention_layers}.items():
            require(name, value, 1 <= value <= _MOST_LAYERS, f"from 1 to {_MOST_LAYERS}")
        require_probability("dropout", dropout)
        self.inputs = {"features": in_channels}
        self.num_features, self.cells, self.kind = hidden, cells, attention
        self.multi_label, self.scored_steps = multi_label, scored_steps
        self.attention: LocationAttention | AdditiveAttention | None = None
        if attention == "location":
            self.attention = LocationAttention(hidden, cells, draw=draw)
        elif attention == "additive":
            self.attention = AdditiveAttention(in_channels, hidden, layers=attention_layers, draw=draw)
        self.initial_hidden = nn.ModuleList(linear(in_channels, hidden, draw) for _ in range(layers))
        self.initial_memory = nn.ModuleList(linear(in_channels, hidden, draw) for _ in range(layers))
        self.lstm = nn.ModuleList(
            LSTMCell(hidden if layer else in_channels, hidden, draw=draw) for layer in range(layers)
        )
        self.dropout = nn.Dropout(dropout)
        self.head = StepHead(hidden, head_width, dropout_state=dropout, dropout=dropout, draw=draw)
        self.reset_classifier(num_classes)

    def unroll(self, *sequences: Tensor, mask: Tensor | None = None) -> Unrolled:
        """[B,T,N,C] → hidden states of the top layer [B,T,H], attention [B,T,N]; maps give attention [B,T,h,w]."""
        (x,) = sequences
        regions = as_regions(x, self.cells)  # [B,T,N,C]
        states = self.initial_states(mean_over_steps(regions.mean(dim=2), mask))
        hidden, weights = [], []
        if self.attention is None:
            pooled = regions.mean(dim=2) if self.kind == "average" else regions.amax(dim=2)  # [B,T,C]
        else:
            keys = self.attention.keys(regions)  # [B,T,N,C]
        for step in range(regions.shape[1]):
            if self.attention is None:
                glimpse = pooled[:, step]
            else:
                weights.append(self.attention(keys[:, step], states[-1].hidden))  # [B,N]
                glimpse = (weights[-1].unsqueeze(1) @ regions[:, step]).squeeze(1)  # [B,C]
            states = self._step(glimpse, states, mask, step)
            hidden.append(states[-1].hidden)
        attention = torch.stack(weights, dim=1).reshape(shape_of_cells(x)) if weights else None
        return Unrolled(torch.stack(hidden, dim=1), attention)

    def initial_states(self, mean: Tensor) -> list[State]:
        """h_0 and c_0 of every layer from the mean region [B,C]."""
        return [
            State(torch.tanh(to_hidden(mean)), torch.tanh(to_memory(mean)))
            for to_hidden, to_memory in zip(self.initial_hidden, self.initial_memory, strict=True)
        ]

    def _step(self, x: Tensor, states: list[State], mask: Tensor | None, step: int) -> list[State]:
        """All layers' states after the step that sees x [B,C]."""
        after: list[State] = []
        for cell, before in zip(self.lstm, states, strict=True):
            after.append(held(cell(x, before), before, mask, step))
            x = self.dropout(after[-1].hidden)
        return after


class LocationAttention(nn.Module):
    """The paper's: l = softmax_i(W_i · h), which knows where to look from the state alone."""

    def __init__(self, hidden: int, cells: int, *, draw: Draw) -> None:
        super().__init__()
        self.location = nn.Linear(hidden, cells, bias=False)
        draw(self.location.weight)

    def keys(self, regions: Tensor) -> Tensor:
        """Nothing of the regions is used: they come back as they are."""
        return regions

    def forward(self, keys: Tensor, hidden: Tensor) -> Tensor:
        """Weights [B,N], of sum 1, from h [B,H]."""
        scores: Tensor = self.location(hidden)
        return scores.softmax(dim=1)


class AdditiveAttention(nn.Module):
    """The released code's: l = softmax_i(u · tanh(W_c X_i + W_d h + b) + c), which sees what there is to look at."""

    def __init__(self, channels: int, hidden: int, *, layers: int = 1, draw: Draw) -> None:
        super().__init__()
        self.from_region = nn.Linear(channels, channels)
        draw(self.from_region.weight, orthogonal=False)
        nn.init.zeros_(self.from_region.bias)
        self.deeper = nn.Sequential()
        for layer in range(1, layers):
            if layer > 1:
                self.deeper.append(nn.Tanh())
            self.deeper.append(linear(channels, channels, draw))
        self.from_state = nn.Linear(hidden, channels, bias=False)
        draw(self.from_state.weight)
        self.score = linear(channels, 1, draw)

    def keys(self, regions: Tensor) -> Tensor:
        """What of the scores does not wait for h, [B,T,N,C] of regions [B,T,N,C], all steps at once."""
        keys: Tensor = self.deeper(self.from_region(regions))
        return keys

    def forward(self, keys: Tensor, hidden: Tensor) -> Tensor:
        """Weights [B,N], of sum 1, from keys [B,N,C] and h [B,H]."""
        scores = self.score(torch.tanh(keys + self.from_state(hidden).unsqueeze(1)))  # [B,N,1]
        weights: Tensor = scores.squeeze(2).softmax(dim=1)
        return weights


class CubeRegression(SequenceNetwork):
    """The paper's softmax regression: a linear classifier on the whole cube of N·C numbers, each step by itself.

    Args:
        num_classes: K; 0 leaves the classifier out.
        in_channels: C, of a region.
        cells: N, regions of a frame.
        multi_label, scored_steps: See :class:`SequenceNetwork`.

    Raises:
        KineflowError: A value is out of its range.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int = 1024,
        cells: int = 49,
        multi_label: bool = False,
        scored_steps: int = 0,
    ) -> None:
        super().__init__()
        require("cells", cells, cells >= 1, "at least 1")
        require("scored_steps", scored_steps, scored_steps >= 0, "at least 0")
        self.inputs = {"features": in_channels}
        self.num_features, self.cells = cells * in_channels, cells
        self.multi_label, self.scored_steps = multi_label, scored_steps
        self.head = StepHead(self.num_features, 0, dropout_state=0.0, dropout=0.0, draw=draw_as_alstm)
        self.reset_classifier(num_classes)

    def unroll(self, *sequences: Tensor, mask: Tensor | None = None) -> Unrolled:
        """[B,T,N,C] → [B,T,N·C]: nothing is carried from step to step."""
        (x,) = sequences
        return Unrolled(as_regions(x, self.cells).flatten(2), None)


@register_frame_network(ALSTM)
def alstm(*, backbone: str = "googlenet", **keywords: Any) -> FrameNetwork:
    """ALSTM over a frozen backbone; see :class:`ALSTM` and :func:`frame_network`."""
    return frame_network(ALSTM, backbone=backbone, **keywords)


@register_frame_network(CubeRegression)
def cube_regression(*, backbone: str = "googlenet", **keywords: Any) -> FrameNetwork:
    """Regression on the whole cube over a frozen backbone; see :class:`CubeRegression` and :func:`frame_network`."""
    return frame_network(CubeRegression, backbone=backbone, **keywords)


def as_regions(x: Tensor, cells: int) -> Tensor:
    """Regions [B,T,N,C] of themselves, or of maps [B,T,C,h,w].

    Raises:
        KineflowError: There are not N of them.
    """
    regions = x.flatten(3).transpose(2, 3) if x.ndim == 5 else x
    if regions.ndim != 4 or regions.shape[2] != cells:
        raise KineflowError(
            f"features of shape {list(x.shape)} are not {cells} regions a step",
            remedy="build the network with cells = height × width of the backbone's map",
        )
    return regions


def shape_of_cells(x: Tensor) -> tuple[int, ...]:
    """Shape of the attention over x: [B,T,N] for regions [B,T,N,C], [B,T,h,w] for maps [B,T,C,h,w]."""
    return (*x.shape[:2], *x.shape[3:]) if x.ndim == 5 else tuple(x.shape[:3])
