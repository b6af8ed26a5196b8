"""VideoLSTM: convolutions, attention and motion in one recurrent network, and the networks it is compared with.

Li, Gavves, Jain, Snoek, "VideoLSTM Convolves, Attends and Flows for Action Recognition", CVIU 2018 (arXiv
1607.01794). Frozen VGG-16 networks, one for appearance and one for single flow fields, give maps x_t and M_t of
512×7×7 (``pool5``), or vectors of 4096 (``fc7``). All numbers of parameters are for 101 classes.

==================  ===========  ====================================================  ======================
function            reads        x̃_t, the input of the cell                            h_0, c_0
==================  ===========  ====================================================  ======================
``vgg_lstm``        fc7          x_t                                                   0
``vgg_alstm``       pool5        Σ_i A_{t,i} x_{t,i}, a vector                         tanh(W · mean of x + b)
``conv_lstm``       pool5        x_t                                                   0
``conv_alstm``      pool5        A_t ∘ x_t, a map (49,916,006 parameters)              tanh(W * mean of x + b)
``motion_alstm``    pool5, fc7   as ``vgg_alstm``, A_t from a motion LSTM              the same, for both cells
``videolstm``       pool5 twice  as ``conv_alstm``, A_t from a motion ConvLSTM         the same, for both cells
==================  ===========  ====================================================  ======================

The mean is over the steps; for vectors over the cells as well. Attention is by 1×1 convolutions, and h is the cell's
own of the step before::

    Z_t = tanh(W_a * x_t + W_b * h + b),    A_t = softmax over cells of (w_z * Z_t + c)

The product A_t ∘ x_t keeps the map; A_t sums to 1, so x̃_t is about 49 times smaller than x_t, and the published network
is trained so. ``rescale`` multiplies by the number of cells, which is our deviation, for training that stalls.

Motion-based attention has two cells. At each step, in this order::

    bottom:     h^b_t, c^b_t from M_t, h^b_{t-1} and the top's h^t_{t-1} (one more convolution for every gate)
    attention:  A_t as above with h = h^b_t, of this very step
    top:        h^t_t, c^t_t from A_t ∘ x_t and h^t_{t-1};   the head sees the top alone

The head is a tanh layer of 1024 and a classifier at every step, with dropout .7 before the classifier; the networks
with vectors for states have dropout .5 before both layers. Kernels are drawn uniformly from ±1/√n, n the second
length of the weight as the authors store it (input channels of a kernel, outputs of a dense layer), matrices of the
networks with vectors from N(0, .1²); biases are 0.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from kineflow.models.alstm import ALSTM, AdditiveAttention, as_regions, linear, shape_of_cells
from kineflow.models.conv_lstm import ConvLSTMCell, over_time, unroll
from kineflow.models.network import require_same_tensors, shapes
from kineflow.models.recurrent import (
    LSTMCell,
    SequenceNetwork,
    State,
    StepHead,
    Training,
    Unrolled,
    held,
    mean_over_steps,
    require,
)
from kineflow.models.scale import require_probability

Normalisation = Literal["softmax", "sigmoid"]
TopFeeds = Literal["bottom", "attention"]

_WITHOUT_PARENT = ("bottom.context.", "bottom_initial.", "attention.from_above.")


def _rmsprop(epochs: int) -> Training:
    return Training("rmsprop", learning_rate=1e-3, epochs=epochs, smoothing=0.9, epsilon=1e-3)


# Cross entropy at every step, summed over the steps, mean over the clips; no decay, no clipping, no penalty. One epoch
# is one random clip of every video; the appearance ConvALSTM was also trained on clips of 15.
TRAINING = {
    "vgg_lstm": _rmsprop(200),
    "vgg_alstm": _rmsprop(200),
    "conv_lstm": _rmsprop(200),
    "conv_lstm_flow": _rmsprop(300),
    "conv_alstm": _rmsprop(300),
    "motion_alstm": _rmsprop(400),
    "videolstm": _rmsprop(400),
}


def vgg_lstm(
    *, num_classes: int, in_channels: int = 4096, hidden: int = 512, head_width: int = 1024, dropout: float = 0.5
) -> VectorLSTM:
    """An LSTM on one vector a frame; for the keywords see :class:`VectorLSTM`."""
    return VectorLSTM(
        num_classes=num_classes, in_channels=in_channels, hidden=hidden, head_width=head_width, dropout=dropout
    )


def vgg_alstm(
    *,
    num_classes: int,
    in_channels: int = 512,
    cells: int = 49,
    hidden: int = 512,
    head_width: int = 1024,
    dropout: float = 0.5,
) -> ALSTM:
    """ALSTM as VideoLSTM is compared with it: one layer, additive attention; for the keywords see :class:`ALSTM`."""
    return ALSTM(
        num_classes=num_classes,
        in_channels=in_channels,
        cells=cells,
        hidden=hidden,
        head_width=head_width,
        layers=1,
        attention="additive",
        attention_layers=1,
        dropout=dropout,
        multi_label=False,
        draw=draw_matrix,
    )


def conv_lstm(
    *,
    num_classes: int,
    in_channels: int = 512,
    grid: int = 7,
    hidden: int = 512,
    kernel: int = 3,
    head_width: int = 1024,
    dropout: float = 0.7,
    pool: bool = False,
) -> ConvLSTM:
    """ConvLSTM without attention; for the keywords see :class:`ConvLSTM`."""
    return ConvLSTM(
        num_classes=num_classes,
        in_channels=in_channels,
        grid=grid,
        hidden=hidden,
        kernel=kernel,
        head_width=head_width,
        dropout=dropout,
        pool=pool,
    )


def conv_alstm(
    *,
    num_classes: int,
    in_channels: int = 512,
    grid: int = 7,
    hidden: int = 512,
    kernel: int = 3,
    head_width: int = 1024,
    dropout: float = 0.7,
    pool: bool = False,
    normalisation: Normalisation = "softmax",
    rescale: bool = False,
) -> ConvALSTM:
    """ConvLSTM that attends by its own state; for the keywords see :class:`ConvALSTM`."""
    return ConvALSTM(
        num_classes=num_classes,
        in_channels=in_channels,
        grid=grid,
        hidden=hidden,
        kernel=kernel,
        head_width=head_width,
        dropout=dropout,
        pool=pool,
        normalisation=normalisation,
        rescale=rescale,
    )


def videolstm(
    *,
    num_classes: int,
    in_channels: int = 512,
    motion_channels: int = 512,
    grid: int = 7,
    hidden: int = 512,
    kernel: int = 3,
    bottom_kernel: int = 1,
    head_width: int = 1024,
    dropout: float = 0.7,
    pool: bool = False,
    normalisation: Normalisation = "softmax",
    rescale: bool = False,
    top_feeds: TopFeeds = "bottom",
) -> VideoLSTM:
    """VideoLSTM: attention from motion, on appearance; for the keywords see :class:`VideoLSTM`."""
    return VideoLSTM(
        num_classes=num_classes,
        in_channels=in_channels,
        motion_channels=motion_channels,
        grid=grid,
        hidden=hidden,
        kernel=kernel,
        bottom_kernel=bottom_kernel,
        head_width=head_width,
        dropout=dropout,
        pool=pool,
        normalisation=normalisation,
        rescale=rescale,
        top_feeds=top_feeds,
    )


def motion_alstm(
    *,
    num_classes: int,
    in_channels: int = 512,
    motion_channels: int = 4096,
    cells: int = 49,
    hidden: int = 512,
    head_width: int = 1024,
    dropout: float = 0.5,
) -> MotionALSTM:
    """ALSTM whose attention comes from motion; for the keywords see :class:`MotionALSTM`."""
    return MotionALSTM(
        num_classes=num_classes,
        in_channels=in_channels,
        motion_channels=motion_channels,
        cells=cells,
        hidden=hidden,
        head_width=head_width,
        dropout=dropout,
    )


def draw_matrix(weight: Tensor, /, *, orthogonal: bool = True) -> None:  # noqa: ARG001
    """N(0, .1²), for the networks with vectors for states."""
    nn.init.normal_(weight, std=0.1)


def draw_kernel(weight: Tensor, /, *, orthogonal: bool = True) -> None:  # noqa: ARG001
    """Uniform in ±1/√n, n the input channels of a kernel [out,in,k,k] and the outputs of a matrix [out,in]."""
    n = weight.shape[1] if weight.ndim == 4 else weight.shape[0]
    nn.init.uniform_(weight, -(n**-0.5), n**-0.5)


class VectorLSTM(SequenceNetwork):
    """An LSTM of one layer on vectors [B,T,C].

    Args:
        num_classes: K; 0 leaves the classifier out.
        in_channels: C.
        hidden: H.
        head_width: D, of the tanh layer.
        dropout: Before the tanh layer and after it.

    Raises:
        KineflowError: A value is out of its range.
    """

    def __init__(self, *, num_classes: int, in_channels: int, hidden: int, head_width: int, dropout: float) -> None:
        super().__init__()
        require_probability("dropout", dropout)
        self.inputs, self.num_features = {"features": in_channels}, hidden
        self.cell = LSTMCell(in_channels, hidden, draw=draw_matrix)
        self.head = StepHead(hidden, head_width, dropout_state=dropout, dropout=dropout, draw=draw_matrix)
        self.reset_classifier(num_classes)

    def unroll(self, *sequences: Tensor, mask: Tensor | None = None) -> Unrolled:
        """[B,T,C] → hidden states [B,T,H]."""
        (x,) = sequences
        projected = self.cell.project(x)  # [B,T,4H]
        zeros = x.new_zeros(x.shape[0], self.num_features)
        state, hidden = State(zeros, zeros), []
        for step in range(x.shape[1]):
            state = held(self.cell.step(projected[:, step], state), state, mask, step)
            hidden.append(state.hidden)
        return Unrolled(torch.stack(hidden, dim=1), None)


class ConvLSTM(SequenceNetwork):
    """ConvLSTM on maps [B,T,C,g,g].

    Args:
        num_classes: K; 0 leaves the classifier out.
        in_channels: C.
        grid: g, side of the map.
        hidden: H.
        kernel: Side of the cell's kernels, odd.
        head_width: D, of the tanh layer.
        dropout: Before the classifier.
        pool: Average the state over the grid before the head: not the paper's, whose first head layer holds half of
            all parameters, but for small data, and for maps of any size.

    Raises:
        KineflowError: A value is out of its range.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        grid: int,
        hidden: int,
        kernel: int,
        head_width: int,
        dropout: float,
        pool: bool,
    ) -> None:
        super().__init__()
        self.inputs, self.num_features = {"features": in_channels}, hidden
        self.cell = ConvLSTMCell(in_channels, hidden, kernel=kernel, draw=draw_kernel)
        self.head = conv_head(hidden, grid, head_width, dropout=dropout, pool=pool)
        self.reset_classifier(num_classes)

    def unroll(self, *sequences: Tensor, mask: Tensor | None = None) -> Unrolled:
        """[B,T,C,g,g] → hidden states [B,T,H,g,g]."""
        (x,) = sequences
        return Unrolled(unroll(self.cell, x, self.cell.rest(x), mask), None)


class ConvALSTM(SequenceNetwork):
    """ConvLSTM on maps [B,T,C,g,g] that looks where its own state of the step before tells it.

    Args:
        num_classes, in_channels, grid, hidden, kernel, head_width, dropout, pool: As in :class:`ConvLSTM`.
        normalisation: ``softmax`` over the cells; ``sigmoid`` for each by itself, a variant among the released code.
        rescale: Multiply attention by the number of cells, so that its mean is 1: not the paper's.

    Raises:
        KineflowError: A value is out of its range.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        grid: int,
        hidden: int,
        kernel: int,
        head_width: int,
        dropout: float,
        pool: bool,
        normalisation: Normalisation,
        rescale: bool,
    ) -> None:
        super().__init__()
        self.inputs, self.num_features = {"features": in_channels}, hidden
        self.attention = MapAttention(in_channels, hidden, normalisation=normalisation, rescale=rescale)
        self.initial = InitialMaps(in_channels, hidden, kernel=kernel)
        self.cell = ConvLSTMCell(in_channels, hidden, kernel=kernel, draw=draw_kernel)
        self.head = conv_head(hidden, grid, head_width, dropout=dropout, pool=pool)
        self.reset_classifier(num_classes)

    def unroll(self, *sequences: Tensor, mask: Tensor | None = None) -> Unrolled:
        """[B,T,C,g,g] → hidden states [B,T,H,g,g], attention [B,T,g,g]."""
        (x,) = sequences
        keys = self.attention.keys(x)  # [B,T,H,g,g]
        state = self.initial(mean_over_steps(x, mask))
        hidden, attention = [], []
        for step in range(x.shape[1]):
            weights = self.attention(keys[:, step], state.hidden)  # [B,1,g,g]
            attended = self.attention.attend(weights, x[:, step])  # [B,C,g,g]
            state = held(self.cell(attended, state), state, mask, step)
            hidden.append(state.hidden)
            attention.append(weights.squeeze(1))
        return Unrolled(torch.stack(hidden, dim=1), torch.stack(attention, dim=1))


class VideoLSTM(SequenceNetwork):
    """VideoLSTM on appearance [B,T,C,g,g] and motion [B,T,M,g,g].

    Args:
        num_classes, in_channels, grid, hidden, kernel, head_width, dropout, pool: As in :class:`ConvLSTM`; ``kernel``
            is the top's.
        motion_channels: M.
        bottom_kernel: Side of the bottom's kernels, those of its initial state among them: 1 as released. A bottom
            that starts from a flow ConvLSTM (:func:`warm_start`) has that network's.
        normalisation, rescale: As in :class:`ConvALSTM`.
        top_feeds: What sees the top's state of the step before: the ``bottom``, or, in a variant among the released
            code, the ``attention`` (W_e * h^t_{t-1} within the tanh).

    Raises:
        KineflowError: A value is out of its range.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        motion_channels: int,
        grid: int,
        hidden: int,
        kernel: int,
        bottom_kernel: int,
        head_width: int,
        dropout: float,
        pool: bool,
        normalisation: Normalisation,
        rescale: bool,
        top_feeds: TopFeeds,
    ) -> None:
        super().__init__()
        require("top_feeds", top_feeds, top_feeds in get_args(TopFeeds), f"one of {', '.join(get_args(TopFeeds))}")
        self.inputs = {"appearance": in_channels, "motion": motion_channels}
        self.num_features, self.top_feeds = hidden, top_feeds
        above = {"bottom": hidden if top_feeds == "bottom" else 0, "attention": hidden if top_feeds != "bottom" else 0}
        self.bottom_initial = InitialMaps(motion_channels, hidden, kernel=bottom_kernel)
        self.bottom = ConvLSTMCell(
            motion_channels, hidden, kernel=bottom_kernel, context=above["bottom"], draw=draw_kernel
        )
        self.attention = MapAttention(
            in_channels, hidden, normalisation=normalisation, rescale=rescale, above=above["attention"]
        )
        self.initial = InitialMaps(in_channels, hidden, kernel=kernel)
        self.top = ConvLSTMCell(in_channels, hidden, kernel=kernel, draw=draw_kernel)
        self.head = conv_head(hidden, grid, head_width, dropout=dropout, pool=pool)
        self.reset_classifier(num_classes)

    def unroll(self, *sequences: Tensor, mask: Tensor | None = None) -> Unrolled:
        """[B,T,C,g,g] and [B,T,M,g,g] → the top's hidden states [B,T,H,g,g], attention [B,T,g,g]."""
        x, motion = sequences
        keys, motion_gates = self.attention.keys(x), self.bottom.project(motion)  # [B,T,H,g,g], [B,T,4H,g,g]
        top, bottom = self.initial(mean_over_steps(x, mask)), self.bottom_initial(mean_over_steps(motion, mask))
        hidden, attention = [], []
        for step in range(x.shape[1]):
            above = {self.top_feeds: top.hidden}
            moved = self.bottom.step(motion_gates[:, step], bottom, context=above.get("bottom"))
            weights = self.attention(keys[:, step], moved.hidden, above.get("attention"))  # [B,1,g,g]
            attended = self.attention.attend(weights, x[:, step])  # [B,C,g,g]
            top = held(self.top(attended, top), top, mask, step)
            bottom = held(moved, bottom, mask, step)
            hidden.append(top.hidden)
            attention.append(weights.squeeze(1))
        return Unrolled(torch.stack(hidden, dim=1), torch.stack(attention, dim=1))


class MotionALSTM(SequenceNetwork):
    """ALSTM on appearance [B,T,N,C] (or maps [B,T,C,h,w]), with attention from an LSTM on motion [B,T,M].

    Args:
        num_classes, in_channels, cells, hidden, head_width, dropout: As in :class:`ALSTM`.
        motion_channels: M.

    Raises:
        KineflowError: A value is out of its range.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        motion_channels: int,
        cells: int,
        hidden: int,
        head_width: int,
        dropout: float,
    ) -> None:
        super().__init__()
        require_probability("dropout", dropout)
        self.inputs = {"appearance": in_channels, "motion": motion_channels}
        self.num_features, self.cells = hidden, cells
        self.bottom_initial = InitialVectors(motion_channels, hidden)
        self.bottom = LSTMCell(motion_channels, hidden, context=hidden, draw=draw_matrix)
        self.attention = AdditiveAttention(in_channels, hidden, draw=draw_matrix)
        self.initial = InitialVectors(in_channels, hidden)
        self.top = LSTMCell(in_channels, hidden, draw=draw_matrix)
        self.head = StepHead(hidden, head_width, dropout_state=dropout, dropout=dropout, draw=draw_matrix)
        self.reset_classifier(num_classes)

    def unroll(self, *sequences: Tensor, mask: Tensor | None = None) -> Unrolled:
        """[B,T,N,C] and [B,T,M] → the top's hidden states [B,T,H], attention [B,T,N] (or [B,T,h,w])."""
        x, motion = sequences
        regions = as_regions(x, self.cells)  # [B,T,N,C]
        keys, motion_gates = self.attention.keys(regions), self.bottom.project(motion)  # [B,T,N,C], [B,T,4H]
        top = self.initial(mean_over_steps(regions.mean(dim=2), mask))
        bottom = self.bottom_initial(mean_over_steps(motion, mask))
        hidden, attention = [], []
        for step in range(x.shape[1]):
            moved = self.bottom.step(motion_gates[:, step], bottom, context=top.hidden)
            attention.append(self.attention(keys[:, step], moved.hidden))  # [B,N]
            glimpse = (attention[-1].unsqueeze(1) @ regions[:, step]).squeeze(1)  # [B,C]
            top = held(self.top(glimpse, top), top, mask, step)
            bottom = held(moved, bottom, mask, step)
            hidden.append(top.hidden)
        return Unrolled(torch.stack(hidden, dim=1), torch.stack(attention, dim=1).reshape(shape_of_cells(x)))


class MapAttention(nn.Module):
    """A = softmax over cells of w_z * tanh(W_a * x + W_b * h + b) + c, all 1×1.

    Args:
        channels: C, of x.
        hidden: H, of h and of the tanh.
        normalisation, rescale: As in :class:`ConvALSTM`.
        above: Channels of a second state that the tanh sees (W_e); 0 for none.
    """

    def __init__(
        self, channels: int, hidden: int, *, normalisation: Normalisation, rescale: bool, above: int = 0
    ) -> None:
        super().__init__()
        known = get_args(Normalisation)
        require("normalisation", normalisation, normalisation in known, f"one of {', '.join(known)}")
        self.normalisation, self.rescale = normalisation, rescale
        self.from_input = _kernel(channels, hidden, 1)
        self.from_state = _kernel(hidden, hidden, 1, bias=False)
        if above:
            self.from_above = _kernel(above, hidden, 1, bias=False)
        self.score = nn.Conv2d(hidden, 1, 1)
        # The authors store w_z as a matrix of one output, so that n is 1.
        nn.init.uniform_(self.score.weight, -1, 1)
        assert self.score.bias is not None
        nn.init.zeros_(self.score.bias)

    def keys(self, x: Tensor) -> Tensor:
        """What of Z does not wait for h: W_a * x + b, [B,T,H,h,w] of [B,T,C,h,w], all steps as one batch."""
        return over_time(self.from_input, x)

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
        self.hidden, self.memory = _kernel(channels, hidden, kernel), _kernel(channels, hidden, kernel)

    def forward(self, mean: Tensor) -> State:
        """From the mean map [B,C,h,w] to [B,H,h,w] each."""
        return State(torch.tanh(self.hidden(mean)), torch.tanh(self.memory(mean)))


class InitialVectors(nn.Module):
    """h_0, c_0 = tanh(W · mean + b), a W of its own for each."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.hidden, self.memory = linear(channels, hidden, draw_matrix), linear(channels, hidden, draw_matrix)

    def forward(self, mean: Tensor) -> State:
        """From the mean vector [B,C] to [B,H] each."""
        return State(torch.tanh(self.hidden(mean)), torch.tanh(self.memory(mean)))


def conv_head(hidden: int, grid: int, width: int, *, dropout: float, pool: bool) -> StepHead:
    """The head over states [B,T,H,g,g]: all of them flattened, or with ``pool`` their mean over the grid."""
    require("grid", grid, grid >= 1, "at least 1")
    require_probability("dropout", dropout)
    inputs = hidden if pool else hidden * grid**2
    return StepHead(inputs, width, dropout_state=0.0, dropout=dropout, draw=draw_kernel, pool=pool)


def warm_start(network: VideoLSTM, *, flow: ConvLSTM, appearance: ConvALSTM) -> tuple[str, ...]:
    """Start VideoLSTM from its two trained parents, for fine-tuning as a whole.

    The bottom takes the flow network's cell; the top, its initial state, the attention and the head take the
    appearance network's.

    Returns:
        Names of the weights that no parent has, which stay as they are: what the bottom sees of the top, and the
        bottom's initial state.

    Raises:
        KineflowError: Widths, classes or kernels differ. The released bottom has kernels of 1 and its parent of 3, and
            no rule is published that turns one into the other.
    """
    parents = {f"bottom.{name}": tensor for name, tensor in flow.cell.state_dict().items()}
    for name, tensor in appearance.state_dict().items():
        parents[f"top.{name.removeprefix('cell.')}" if name.startswith("cell.") else name] = tensor
    own = network.state_dict()
    fresh = tuple(name for name in own if name.startswith(_WITHOUT_PARENT))
    require_same_tensors(
        {name: shape for name, shape in shapes(own).items() if name not in fresh},
        shapes(parents),
        where="warm start of VideoLSTM",
        remedy="build all three with the same widths and classes, and with bottom_kernel the flow network's kernel",
    )
    network.load_state_dict(parents, strict=False)
    return fresh


def _kernel(inputs: int, outputs: int, side: int, *, bias: bool = True) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, side, padding=side // 2, bias=bias)
    draw_kernel(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
