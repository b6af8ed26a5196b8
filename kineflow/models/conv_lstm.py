"""ConvLSTM: an LSTM whose states are maps and whose products are convolutions.

Shi et al., "Convolutional LSTM Network", NIPS 2015 (arXiv 1506.04214), without its peepholes, as in VideoLSTM (Li et
al., arXiv 1607.01794). With * a convolution of stride 1 that keeps the map's size and ∘ elementwise::

    i = σ(W_xi * x_t + W_hi * h_{t-1} + b_i)        f, o likewise
    g = tanh(W_xg * x_t + W_hg * h_{t-1} + b_g)
    c_t = f ∘ c_{t-1} + i ∘ g,    h_t = o ∘ tanh(c_t)

Only W_h has to wait for the step before. The four W_x are one convolution over all steps of a clip at once
(:meth:`ConvLSTMCell.project`), and the four W_h one convolution a step. benchmarks/conv_lstm.py measures what that
brings.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kineflow.models.recurrent import Draw, State, draw_gates, gated, held, require

# A CPU brings a kernel into its own order at every call, which is fast as long as its cache holds both: 16 MB and more
# go gate by gate there.
_LARGE_KERNEL = 1 << 22


class ConvLSTMCell(nn.Module):
    """One ConvLSTM layer; gates lie in the order i, f, o, g. 3×3 from 512 to 512 channels: 18,876,416 parameters.

    Args:
        inputs: C, channels of x.
        hidden: H, channels of h and c.
        kernel: Side of all kernels, odd.
        context: Channels of a third map that every gate sees by a convolution of its own, without bias; 0 for none.
        draw: How kernels are drawn; biases start at 0.

    Raises:
        KineflowError: The kernel has no centre.
    """

    def __init__(self, inputs: int, hidden: int, *, kernel: int = 3, context: int = 0, draw: Draw) -> None:
        super().__init__()
        require("kernel", kernel, kernel > 0 and kernel % 2 == 1, "odd")
        self.hidden = hidden
        self.input = nn.Conv2d(inputs, 4 * hidden, kernel, padding=kernel // 2)
        self.recurrent = nn.Conv2d(hidden, 4 * hidden, kernel, padding=kernel // 2, bias=False)
        draw_gates(self.input.weight, draw)
        draw_gates(self.recurrent.weight, draw)
        if context:
            self.context = nn.Conv2d(context, 4 * hidden, kernel, padding=kernel // 2, bias=False)
            draw_gates(self.context.weight, draw)
        assert self.input.bias is not None
        nn.init.zeros_(self.input.bias)

    def project(self, x: Tensor) -> Tensor:
        """W_x * x + b, [B,T,4H,h,w] of x [B,T,C,h,w], all steps as one batch."""
        return at_every_step(lambda maps: convolve_gates(self.input, maps), x)

    def forward(self, x: Tensor, state: State, context: Tensor | None = None) -> State:
        """One step, from x_t [B,C,h,w], and with a context [B,context,h,w] where there is one."""
        return self.step(convolve_gates(self.input, x), state, context)

    def step(self, projected: Tensor, state: State, context: Tensor | None = None) -> State:
        """The same, from what :meth:`project` made of x_t, [B,4H,h,w]."""
        gates = projected + convolve_gates(self.recurrent, state.hidden)
        if context is not None:
            gates = gates + convolve_gates(self.context, context)
        return gated(gates, state.memory)

    def rest(self, x: Tensor) -> State:
        """The state of zeros that fits x [B,T,C,h,w]."""
        zeros = x.new_zeros(x.shape[0], self.hidden, *x.shape[3:])
        return State(zeros, zeros)


def unroll(cell: ConvLSTMCell, x: Tensor, state: State, mask: Tensor | None = None) -> Tensor:
    """Hidden states [B,T,H,h,w] over x [B,T,C,h,w]; ``mask`` bool [B,T] is true for real steps."""
    projected = cell.project(x)
    hidden = []
    for step in range(x.shape[1]):
        state = held(cell.step(projected[:, step], state), state, mask, step)
        hidden.append(state.hidden)
    return torch.stack(hidden, dim=1)


def convolve_gates(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """``layer(x)``, [N,4H,h,w], by the way that is fastest here."""
    if x.device.type != "cpu" or layer.weight.numel() < _LARGE_KERNEL:
        gates: Tensor = layer(x)
        return gates
    biases = layer.bias.chunk(4) if layer.bias is not None else (None,) * 4
    parts = zip(layer.weight.chunk(4), biases, strict=True)
    return torch.cat([F.conv2d(x, weight, bias, padding=layer.padding) for weight, bias in parts], dim=1)


def at_every_step(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A layer for maps [N,C,h,w] applied to all steps of [B,T,C,h,w] as one batch."""
    mapped = layer(x.flatten(0, 1))  # [B·T,…]
    return mapped.view(*x.shape[:2], *mapped.shape[1:])
