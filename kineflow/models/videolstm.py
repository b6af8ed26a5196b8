"""VideoLSTM: convolutions, attention and motion in one recurrent network, and the networks it is compared with.

Li, Gavves, Jain, Snoek, "VideoLSTM Convolves, Attends and Flows for Action Recognition", CVIU 2018 (arXiv
1607.01794). Frozen VGG-16 networks, one for appearance and one for single flow frames, give maps x_t and M_t of
512×7×7 (``pool5``), or vectors of 4096 (``fc7``). All numbers of parameters are for 101 classes, without those.

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

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from kineflow.models.alstm import ALSTM, AdditiveAttention, as_regions, shape_of_cells
from kineflow.models.conv_lstm import ConvLSTMCell, unroll
from kineflow.models.frame_networks import FrameNetwork, frame_network, register_frame_network
from kineflow.models.map_attention import (
    AttentionNormalisation,
    InitialMaps,
    InitialVectors,
    MapAttention,
    conv_head,
    draw_kernel,
    draw_matrix,
)
from kineflow.models.network import require_same_tensors, shapes
from kineflow.models.recurrent import (
    LSTMCell,
    SequenceNetwork,
    State,
    StepHead,
    Unrolled,
    held,
    mean_over_steps,
    require,
)
from kineflow.models.scale import require_probability

TopFeeds = Literal["bottom", "attention"]

_WITHOUT_PARENT = ("bottom.context.", "bottom_initial.", "attention.from_above.")


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

    taps = ("vector",)

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int = 4096,
        hidden: int = 512,
        head_width: int = 1024,
        dropout: float = 0.5,
    ) -> None:
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


class AdditiveALSTM(ALSTM):
    """ALSTM as VideoLSTM is compared with it: as released, with one layer and an attention that sees the features.

    Args:
        num_classes, in_channels, cells, hidden, head_width, dropout: As in :class:`ALSTM`.

    Raises:
        KineflowError: A value is out of its range.
    """

    draw = staticmethod(draw_matrix)

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int = 512,
        cells: int = 49,
        hidden: int = 512,
        head_width: int = 1024,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(
            num_classes=num_classes,
            in_channels=in_channels,
            cells=cells,
            hidden=hidden,
            head_width=head_width,
            layers=1,
            attention="additive",
            dropout=dropout,
        )


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
        in_channels: int = 512,
        grid: int = 7,
        hidden: int = 512,
        kernel: int = 3,
        head_width: int = 1024,
        dropout: float = 0.7,
        pool: bool = False,
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
        normalisation, rescale: As in :class:`MapAttention`.

    Raises:
        KineflowError: A value is out of its range.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int = 512,
        grid: int = 7,
        hidden: int = 512,
        kernel: int = 3,
        head_width: int = 1024,
        dropout: float = 0.7,
        pool: bool = False,
        normalisation: AttentionNormalisation = "softmax",
        rescale: bool = False,
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
        normalisation, rescale: As in :class:`MapAttention`.
        top_feeds: What sees the top's state of the step before: the ``bottom``, or, in a variant among the released
            code, the ``attention`` (W_e * h^t_{t-1} within the tanh).

    Raises:
        KineflowError: A value is out of its range.
    """

    taps = ("map", "map")

    def __init__(
        self,
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
        normalisation: AttentionNormalisation = "softmax",
        rescale: bool = False,
        top_feeds: TopFeeds = "bottom",
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

    taps = ("map", "vector")

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int = 512,
        motion_channels: int = 4096,
        cells: int = 49,
        hidden: int = 512,
        head_width: int = 1024,
        dropout: float = 0.5,
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


@register_frame_network(VectorLSTM)
def vgg_lstm(*, backbone: str = "vgg16", **keywords: Any) -> FrameNetwork:
    """An LSTM on one vector a frame, over a frozen backbone; see :class:`VectorLSTM` and :func:`frame_network`."""
    return frame_network(VectorLSTM, backbone=backbone, **keywords)


@register_frame_network(AdditiveALSTM)
def vgg_alstm(*, backbone: str = "vgg16", **keywords: Any) -> FrameNetwork:
    """ALSTM in VideoLSTM's form, over a frozen backbone; see :class:`AdditiveALSTM` and :func:`frame_network`."""
    return frame_network(AdditiveALSTM, backbone=backbone, **keywords)


@register_frame_network(ConvLSTM)
def conv_lstm(*, backbone: str = "vgg16", **keywords: Any) -> FrameNetwork:
    """ConvLSTM without attention, over a frozen backbone; see :class:`ConvLSTM` and :func:`frame_network`."""
    return frame_network(ConvLSTM, backbone=backbone, **keywords)


@register_frame_network(ConvALSTM)
def conv_alstm(*, backbone: str = "vgg16", **keywords: Any) -> FrameNetwork:
    """ConvLSTM with attention, over a frozen backbone; see :class:`ConvALSTM` and :func:`frame_network`."""
    return frame_network(ConvALSTM, backbone=backbone, **keywords)


@register_frame_network(MotionALSTM)
def motion_alstm(*, in_channels: int = 5, backbone: str = "vgg16", **keywords: Any) -> FrameNetwork:
    """ALSTM with attention from motion, over two backbones; see :class:`MotionALSTM` and :func:`frame_network`."""
    return frame_network(MotionALSTM, in_channels=in_channels, backbone=backbone, **keywords)


@register_frame_network(VideoLSTM)
def videolstm(*, in_channels: int = 5, backbone: str = "vgg16", **keywords: Any) -> FrameNetwork:
    """VideoLSTM over two frozen backbones; see :class:`VideoLSTM` and :func:`frame_network`."""
    return frame_network(VideoLSTM, in_channels=in_channels, backbone=backbone, **keywords)
