"""What ALSTM and VideoLSTM share: networks over sequences of feature maps, that answer at every time step.

Backbones stay frozen, so their features are computed once and these networks read the features alone. Some of
a clip's T steps may be padding; a mask bool [B,T] is true for the real ones. Padding changes nothing: states are held
over it, and neither means nor scores see it.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from kineflow.models.network import Network
from kineflow.spec.tap import Tap
from kineflow.storage.errors import KineflowError


class State(NamedTuple):
    """h and c of a cell, float [B,H] or [B,H,h,w] each."""

    hidden: Tensor
    memory: Tensor


class Unrolled(NamedTuple):
    """What a network went through.

    Attributes:
        hidden: States that the head sees, float [B,T,F] or [B,T,F,h,w].
        attention: Weights of the cells, [B,T,N] for regions and [B,T,h,w] for maps; none without attention.
    """

    hidden: Tensor
    attention: Tensor | None


class Steps(NamedTuple):
    """Answers at every step.

    Attributes:
        logits: float [B,T,K]; headless, what a classifier would see, [B,T,D].
        attention: As in :class:`Unrolled`.
    """

    logits: Tensor
    attention: Tensor | None


class Draw(Protocol):
    """A rule to draw weights, in place, from torch's global generator."""

    def __call__(self, weight: Tensor, /, *, orthogonal: bool = True) -> None:
        """Draw one matrix (or kernel); ``orthogonal`` allows an orthogonal one, where the rule knows such."""


class SequenceNetwork(Network):
    """A network from feature sequences [B,T,…] to logits, at every step.

    Attributes:
        inputs: What its sequences are, in order, and the channels of each: ``features``, or ``appearance`` and
            ``motion``. Channels are the last dimension of vectors [B,T,C] and regions [B,T,N,C], and the third of maps
            [B,T,C,h,w].
        taps: What of the image network behind each of its inputs it reads.
        multi_label: Whether classes exclude each other (softmax) or not (sigmoid, for Hollywood2).
        scored_steps: The last so many steps of a clip decide about it; 0 for all.
        head: From states to what the classifier sees, and the classifier.
    """

    stem_name = ""  # it reads features, and no pixels
    classifier_name = "head.classifier"
    taps: tuple[Tap, ...] = ("map",)
    inputs: dict[str, int]
    multi_label: bool = False
    scored_steps: int = 0
    head: StepHead

    def unroll(self, *sequences: Tensor, mask: Tensor | None = None) -> Unrolled:
        """Run through the sequences, each float [B,T,…]; ``mask`` bool [B,T] is true for real steps."""
        raise NotImplementedError

    def forward(self, *sequences: Tensor, mask: Tensor | None = None) -> Tensor:
        """Give the scores [B,K] of whole clips: see :meth:`forward_head`."""
        return self._pooled(self.unroll(*self._checked(sequences), mask=mask).hidden, mask, pre_logits=False)

    def forward_steps(self, *sequences: Tensor, mask: Tensor | None = None) -> Steps:
        """Give the logits at every step, which the losses need."""
        hidden, attention = self.unroll(*self._checked(sequences), mask=mask)
        return Steps(self.head(hidden), attention)

    def forward_features(self, *sequences: Tensor, mask: Tensor | None = None) -> Tensor:
        """Give the hidden states, float [B,F,T] or [B,F,T,h,w]."""
        return self.unroll(*self._checked(sequences), mask=mask).hidden.transpose(1, 2)

    def forward_head(self, features: Tensor, *, pre_logits: bool = False, mask: Tensor | None = None) -> Tensor:
        """Give the scores [B,K] of hidden states [B,F,T,…]: logits of the probabilities' mean over the scored steps.

        So their softmax is the papers' average over a clip (with ``multi_label`` their sigmoid). With ``pre_logits``
        it is the mean over those steps of what the classifier sees, [B,D].
        """
        return self._pooled(features.transpose(1, 2), mask, pre_logits=pre_logits)

    def reset_classifier(self, num_classes: int) -> None:
        """See :meth:`Network.reset_classifier`."""
        self.num_classes = num_classes
        self.head.reset_classifier(num_classes)

    @property
    def head_hidden_size(self) -> int:
        """D, the length of what the classifier sees."""
        return self.head.width

    def _pooled(self, hidden: Tensor, mask: Tensor | None, *, pre_logits: bool) -> Tensor:
        hidden, mask = last_steps(hidden, mask, self.scored_steps)
        if pre_logits or not self.num_classes:
            return mean_over_steps(self.head.before_classifier(hidden), mask)
        return scores_of_clip(self.head(hidden), mask, multi_label=self.multi_label)

    def _checked(self, sequences: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        wanted = ", ".join(f"{name} of {channels} channels" for name, channels in self.inputs.items())
        given = [x.shape[2] if x.ndim == 5 else x.shape[-1] for x in sequences]
        if given != list(self.inputs.values()):
            raise KineflowError(
                f"the network reads {wanted}, and was given {len(given)} sequences of {given} channels",
                remedy="give it the features that it was built for, in this order",
            )
        if any(x.shape[:2] != sequences[0].shape[:2] for x in sequences):
            raise KineflowError(
                f"sequences of {' and '.join(str(x.shape[1]) for x in sequences)} steps do not go together",
                remedy="leave out the last frame: N frames have N - 1 flow frames",
            )
        return sequences


class LSTMCell(nn.Module):
    """An LSTM step without peepholes, with one bias a gate.

    Gates lie in the order i, f, o, g::

        (i, f, o, g) = (σ, σ, σ, tanh)(W x_t + U h_{t-1} + b)
        c_t = f ∘ c_{t-1} + i ∘ g,    h_t = o ∘ tanh(c_t)

    Args:
        inputs: C, length of x.
        hidden: H, length of h and c.
        context: Length of a third vector that every gate sees by a matrix of its own, without bias; 0 for none.
        draw: How matrices are drawn, gate by gate; biases, the forget gate's too, start at 0.
    """

    def __init__(self, inputs: int, hidden: int, *, context: int = 0, draw: Draw) -> None:
        super().__init__()
        self.input = nn.Linear(inputs, 4 * hidden)
        self.recurrent = nn.Linear(hidden, 4 * hidden, bias=False)
        draw_gates(self.input.weight, draw)
        draw_gates(self.recurrent.weight, draw)
        if context:
            self.context = nn.Linear(context, 4 * hidden, bias=False)
            draw_gates(self.context.weight, draw)
        nn.init.zeros_(self.input.bias)

    def project(self, x: Tensor) -> Tensor:
        """W x + b, [B,…,4H] of x [B,…,C]: of all steps at once, where all x are known beforehand."""
        projected: Tensor = self.input(x)
        return projected

    def forward(self, x: Tensor, state: State, context: Tensor | None = None) -> State:
        """One step, from x_t [B,C], and with a context [B,context] where there is one."""
        return self.step(self.input(x), state, context)

    def step(self, projected: Tensor, state: State, context: Tensor | None = None) -> State:
        """The same, from what :meth:`project` made of x_t, [B,4H]."""
        gates = projected + self.recurrent(state.hidden)
        if context is not None:
            gates = gates + self.context(context)
        return gated(gates, state.memory)


class StepHead(nn.Module):
    """At every step: dropout, tanh layer, dropout, classifier.

    Args:
        inputs: Length of a flattened state.
        width: D, of the tanh layer; 0 leaves it out, so that the classifier sees the state.
        dropout_state: Probability that an entry of the state is dropped.
        dropout: The same of the tanh layer.
        draw: How weights are drawn.
        pool: Average maps over their cells instead of flattening them.
    """

    def __init__(
        self, inputs: int, width: int, *, dropout_state: float, dropout: float, draw: Draw, pool: bool = False
    ) -> None:
        super().__init__()
        self.inputs, self.width, self.pool, self.draw = inputs, width or inputs, pool, draw
        self.dropout_state = nn.Dropout(dropout_state)
        self.hidden: nn.Module = nn.Identity()
        if width:
            self.hidden = nn.Sequential(linear(inputs, width, draw), nn.Tanh())
        self.dropout = nn.Dropout(dropout)
        self.classifier: nn.Module = nn.Identity()

    def forward(self, states: Tensor) -> Tensor:
        """[B,T,F,…] → [B,T,K]; [B,T,D] without a classifier."""
        logits: Tensor = self.classifier(self.dropout(self.before_classifier(states)))
        return logits

    def before_classifier(self, states: Tensor) -> Tensor:
        """[B,T,F,…] → [B,T,D].

        Raises:
            KineflowError: The map has another size than the head was built for.
        """
        flat = states.flatten(3).mean(dim=3) if self.pool and states.ndim > 3 else states.flatten(2)
        if flat.shape[2] != self.inputs:
            raise KineflowError(
                f"states of shape {list(states.shape[2:])} do not fit a head for {self.inputs} numbers",
                remedy="build the network with grid = side of the backbone's map",
            )
        hidden: Tensor = self.hidden(self.dropout_state(flat))
        return hidden

    def reset_classifier(self, num_classes: int) -> None:
        """See :meth:`Network.reset_classifier`."""
        if not num_classes:
            self.classifier = nn.Identity()
            return
        scores = nn.Linear(self.width, num_classes)
        beside = next(self.parameters(), None)
        if beside is not None:
            scores = scores.to(beside)
        self.draw(scores.weight)
        nn.init.zeros_(scores.bias)
        self.classifier = scores


def gated(gates: Tensor, memory: Tensor) -> State:
    """The new state, from what the four gates add up before σ and tanh, [B,4H,…], and c_{t-1} [B,H,…]."""
    i, f, o, g = gates.chunk(4, dim=1)
    memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
    return State(torch.sigmoid(o) * torch.tanh(memory), memory)


def held(new: State, old: State, mask: Tensor | None, step: int) -> State:
    """The new state of clips whose step is real, the old one of the others."""
    if mask is None:
        return new
    real = mask[:, step].view(-1, *[1] * (new.hidden.ndim - 1))
    return State(torch.where(real, new.hidden, old.hidden), torch.where(real, new.memory, old.memory))


def mean_over_steps(x: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of [B,T,…] over the real steps, [B,…]; 0 for a clip of padding alone."""
    if mask is None:
        return x.mean(dim=1)
    real = mask.view(*mask.shape, *[1] * (x.ndim - 2))
    return torch.where(real, x, 0).sum(dim=1) / real.sum(dim=1).clamp(min=1)


def last_steps(x: Tensor, mask: Tensor | None, count: int) -> tuple[Tensor, Tensor | None]:
    """What is left of x [B,T,…] and its mask when the last ``count`` real steps of each clip count; 0 leaves all."""
    if not count:
        return x, mask
    if mask is None:
        return x[:, -count:], None
    real_from_here = mask.flip(1).cumsum(dim=1).flip(1)  # [B,T]
    return x, mask & (real_from_here <= count)


def scores_of_clip(logits: Tensor, mask: Tensor | None = None, *, multi_label: bool = False) -> Tensor:
    """Logits [B,K] whose softmax (sigmoid) is the mean over the real steps of that of the steps' logits [B,T,K].

    A clip of padding alone gets what its padding says, and is not to be read.
    """
    if mask is not None:
        real = (mask | ~mask.any(dim=1, keepdim=True))[..., None]  # [B,T,1]
        logits, count = torch.where(real, logits, 0), real.sum(dim=1)
    if multi_label:
        yes, no = nn.functional.logsigmoid(logits), nn.functional.logsigmoid(-logits)
        if mask is not None:
            yes, no = (part.masked_fill(~real, -math.inf) for part in (yes, no))
        return yes.logsumexp(dim=1) - no.logsumexp(dim=1)
    log_probabilities = logits.log_softmax(dim=2)
    if mask is None:
        return log_probabilities.logsumexp(dim=1) - math.log(logits.shape[1])
    return log_probabilities.masked_fill(~real, -math.inf).logsumexp(dim=1) - count.log()


def linear(inputs: int, outputs: int, draw: Draw) -> nn.Linear:
    """A linear layer, its matrix drawn by ``draw``, its bias 0."""
    layer = nn.Linear(inputs, outputs)
    draw(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def draw_gates(weight: Tensor, draw: Draw) -> None:
    """Draw the four gates' parts of [4H,…], each by itself."""
    for gate in weight.detach().chunk(4, dim=0):
        draw(gate)


def require(name: str, value: object, holds: bool, allowed: str) -> None:
    """Check a hyper-parameter.

    Raises:
        KineflowError: It does not hold.
    """
    if not holds:
        raise KineflowError(f"{name} of a recurrent network must be {allowed}, not {value!r}", remedy=f"correct {name}")
