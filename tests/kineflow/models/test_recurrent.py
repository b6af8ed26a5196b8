"""What every network over feature sequences must do, and the pieces that they share.

What they must do as any other network is in ``test_contract``, by the networks over frames that they are halves of.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from kineflow.models.alstm import ALSTM, CubeRegression
from kineflow.models.recurrent import (
    LSTMCell,
    SequenceNetwork,
    State,
    StepHead,
    gated,
    held,
    last_steps,
    mean_over_steps,
    scores_of_clip,
)
from kineflow.models.videolstm import (
    AdditiveALSTM,
    ConvALSTM,
    ConvLSTM,
    MotionALSTM,
    VectorLSTM,
    VideoLSTM,
)
from kineflow.storage.errors import KineflowError

B, T, C, M, G, H, D, K = 3, 5, 6, 4, 3, 8, 7, 5
VECTORS, MAPS, REGIONS, MOTION = (C,), (C, G, G), (G * G, C), (M, G, G)
SMALL = {"hidden": H, "head_width": D}
NETWORKS: dict[str, tuple[Callable[..., SequenceNetwork], dict[str, object], list[tuple[int, ...]]]] = {
    "alstm": (ALSTM, {"in_channels": C, "cells": G * G, **SMALL}, [REGIONS]),
    "alstm on maps": (ALSTM, {"in_channels": C, "cells": G * G, **SMALL}, [MAPS]),
    "alstm additive": (
        ALSTM,
        {"in_channels": C, "cells": G * G, "attention": "additive", "layers": 1, **SMALL},
        [MAPS],
    ),
    "alstm average": (ALSTM, {"in_channels": C, "cells": G * G, "attention": "average", **SMALL}, [REGIONS]),
    "alstm max": (ALSTM, {"in_channels": C, "cells": G * G, "attention": "max", **SMALL}, [REGIONS]),
    "cube": (CubeRegression, {"in_channels": C, "cells": G * G}, [REGIONS]),
    "vgg_lstm": (VectorLSTM, {"in_channels": C, **SMALL}, [VECTORS]),
    "vgg_alstm": (AdditiveALSTM, {"in_channels": C, "cells": G * G, **SMALL}, [MAPS]),
    "conv_lstm": (ConvLSTM, {"in_channels": C, "grid": G, **SMALL}, [MAPS]),
    "conv_alstm": (ConvALSTM, {"in_channels": C, "grid": G, **SMALL}, [MAPS]),
    "conv_alstm pooled": (ConvALSTM, {"in_channels": C, "pool": True, **SMALL}, [MAPS]),
    "videolstm": (VideoLSTM, {"in_channels": C, "motion_channels": M, "grid": G, **SMALL}, [MAPS, MOTION]),
    "videolstm decp": (
        VideoLSTM,
        {"in_channels": C, "motion_channels": M, "grid": G, "top_feeds": "attention", **SMALL},
        [MAPS, MOTION],
    ),
    "motion_alstm": (MotionALSTM, {"in_channels": C, "motion_channels": M, "cells": G * G, **SMALL}, [MAPS, (M,)]),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def build(name: str, *, num_classes: int = K, seed: int = 0) -> SequenceNetwork:
    torch.manual_seed(seed)
    function, keywords, _ = NETWORKS[name]
    return function(num_classes=num_classes, **keywords)


def features(name: str, *, steps: int = T, clips: int = B) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(clips, steps, *shape, generator=generator) for shape in NETWORKS[name][2]]


@every_network
def test_it_answers_at_every_step(name: str) -> None:
    logits, attention = build(name).forward_steps(*features(name))
    assert logits.shape == (B, T, K)
    assert logits.isfinite().all()
    if attention is not None:
        grid = (G * G,) if NETWORKS[name][2][0] == REGIONS else (G, G)
        assert attention.shape == (B, T, *grid)
        torch.testing.assert_close(attention.flatten(2).sum(dim=2), torch.ones(B, T))
        assert (attention > 0).all()


@every_network
def test_a_clip_scores_the_mean_probability_of_its_steps(name: str) -> None:
    network = build(name).eval()
    x = features(name)
    expected = network.forward_steps(*x).logits.softmax(dim=2).mean(dim=1)
    torch.testing.assert_close(network(*x).softmax(dim=1), expected)
    torch.testing.assert_close(network(*x), expected.log())


@every_network
def test_every_parameter_learns(name: str) -> None:
    network = build(name)
    logits = network.forward_steps(*features(name)).logits
    nn.functional.cross_entropy(logits.flatten(0, 1), torch.arange(B * T) % K).backward()
    idle = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A constant added to all scores changes no softmax.
    assert set(idle) <= {"attention.score.bias"}


@every_network
def test_padding_changes_nothing(name: str) -> None:
    network = build(name).eval()
    x = features(name)
    lengths = torch.tensor([T, 2, 4])
    mask = torch.arange(T + 2) < lengths[:, None]
    padded = [torch.cat([part, 100 * torch.ones_like(part[:, :2])], dim=1) for part in x]
    padded = [torch.where(mask.view(B, T + 2, *[1] * (part.ndim - 2)), part, 100.0) for part in padded]
    steps, scores = network.forward_steps(*padded, mask=mask), network(*padded, mask=mask)
    for clip, length in enumerate(lengths.tolist()):
        alone = [part[clip : clip + 1, :length] for part in x]
        expected = network.forward_steps(*alone)
        torch.testing.assert_close(steps.logits[clip, :length], expected.logits[0])
        torch.testing.assert_close(scores[clip], network(*alone)[0])
        if steps.attention is not None and expected.attention is not None:
            torch.testing.assert_close(steps.attention[clip, :length], expected.attention[0])


@every_network
def test_padding_in_the_middle_is_passed_over(name: str) -> None:
    network = build(name).eval()
    x = features(name)
    real = torch.tensor([True, True, False, True, True])
    with_gap, without = (
        network.forward_steps(*x, mask=real.expand(B, T)),
        network.forward_steps(*[p[:, real] for p in x]),
    )
    torch.testing.assert_close(with_gap.logits[:, real], without.logits)


@every_network
def test_a_full_mask_is_no_mask(name: str) -> None:
    network = build(name).eval()
    x = features(name)
    torch.testing.assert_close(network(*x, mask=torch.ones(B, T, dtype=torch.bool)), network(*x))


@every_network
def test_it_builds_without_memory(name: str) -> None:
    function, keywords, _ = NETWORKS[name]
    with torch.device("meta"):
        network = function(num_classes=K, **keywords)
    assert {key: value.shape for key, value in network.state_dict().items()} == {
        key: value.shape for key, value in build(name).state_dict().items()
    }


@every_network
def test_it_follows_to_another_dtype_with_a_new_classifier(name: str) -> None:
    network = build(name).double()
    network.reset_classifier(2)
    assert network(*[part.double() for part in features(name)]).dtype == torch.float64


@every_network
def test_the_last_steps_decide_when_only_they_are_scored(name: str) -> None:
    network = build(name).eval()
    network.scored_steps = 2
    x = features(name)
    every_step = network.forward_steps(*x).logits
    assert every_step.shape[1] == T  # the loss is over all of them
    torch.testing.assert_close(network(*x), scores_of_clip(every_step[:, -2:]))
    hidden = network.forward_features(*x)
    torch.testing.assert_close(network.forward_head(hidden), network(*x))
    seen = network.forward_head(hidden, pre_logits=True)
    torch.testing.assert_close(seen, network.head.before_classifier(hidden.transpose(1, 2))[:, -2:].mean(dim=1))
    mask = torch.tensor([[True] * T, [True, False, True] + [False] * (T - 3), [True] + [False] * (T - 1)])
    scores = network(*x, mask=mask)
    for clip, length in enumerate(mask.sum(dim=1)):  # padding does not count among the last
        alone = [part[clip : clip + 1, mask[clip]] for part in x]
        assert alone[0].shape[1] == length
        torch.testing.assert_close(scores[clip], network(*alone)[0])


@pytest.mark.parametrize("name", ["alstm", "conv_lstm", "videolstm", "motion_alstm", "vgg_lstm"])
def test_wrong_features_are_named(name: str) -> None:
    network = build(name)
    x = features(name)
    with pytest.raises(KineflowError, match=rf"{C} channels"):
        network(*[torch.cat([part, part], dim=2 if part.ndim == 5 else -1) for part in x])
    with pytest.raises(KineflowError, match="was given"):
        network(*x, x[0])


def test_streams_of_different_lengths_are_refused() -> None:
    appearance, motion = features("videolstm")
    with pytest.raises(KineflowError, match=f"{T} and {T - 1} steps"):
        build("videolstm")(appearance, motion[:, :-1])


def test_a_map_of_another_size_is_named() -> None:
    with pytest.raises(KineflowError, match="grid"):
        build("conv_lstm")(torch.zeros(1, 2, C, G + 1, G))
    with pytest.raises(KineflowError, match="cells"):
        build("alstm")(torch.zeros(1, 2, G * G + 1, C))
    assert build("conv_alstm pooled")(torch.zeros(1, 2, C, G + 1, G + 3)).shape == (1, K)


def test_the_cell_is_torchs_lstm_with_gates_in_the_order_i_f_o_g() -> None:
    torch.manual_seed(0)
    cell = LSTMCell(C, H, draw=lambda weight, /, **_: nn.init.normal_(weight))
    nn.init.normal_(cell.input.bias)
    theirs = nn.LSTMCell(C, H)  # i, f, g, o
    order = torch.arange(4 * H).view(4, H)[[0, 1, 3, 2]].flatten()
    theirs.load_state_dict(
        {
            "weight_ih": cell.input.weight[order],
            "weight_hh": cell.recurrent.weight[order],
            "bias_ih": cell.input.bias[order],
            "bias_hh": torch.zeros(4 * H),
        }
    )
    x, state = torch.randn(B, C), State(torch.randn(B, H), torch.randn(B, H))
    hidden, memory = theirs(x, state)
    after = cell(x, state)
    torch.testing.assert_close(after.hidden, hidden)
    torch.testing.assert_close(after.memory, memory)
    assert sum(p.numel() for p in cell.parameters()) == 4 * (H * (C + H) + H)  # one bias a gate


def test_gates_do_what_their_names_say() -> None:
    memory, big = torch.full((1, 2), 0.5), 100.0

    def after(i: float, f: float, o: float, g: float) -> State:
        return gated(torch.tensor([[i, i, f, f, o, o, g, g]]), memory)

    assert after(-big, big, big, big).memory.tolist() == [[0.5, 0.5]]  # kept, and nothing let in
    assert after(big, -big, big, big).memory.tolist() == [[1.0, 1.0]]  # forgotten, and tanh(g) let in
    assert after(big, -big, -big, big).hidden.tolist() == [[0.0, 0.0]]  # not shown
    torch.testing.assert_close(after(-big, big, big, big).hidden, torch.full((1, 2), math.tanh(0.5)))


def test_projecting_all_steps_at_once_changes_nothing() -> None:
    torch.manual_seed(0)
    cell = LSTMCell(C, H, draw=lambda weight, /, **_: nn.init.normal_(weight))
    x, state = torch.randn(B, T, C), State(torch.randn(B, H), torch.randn(B, H))
    for step, projected in enumerate(cell.project(x).unbind(dim=1)):
        torch.testing.assert_close(cell.step(projected, state).hidden, cell(x[:, step], state).hidden)


def test_states_are_held_over_padding() -> None:
    new, old = State(torch.ones(2, 3), torch.ones(2, 3)), State(torch.zeros(2, 3), torch.zeros(2, 3))
    mask = torch.tensor([[True, True], [True, False]])
    assert held(new, old, None, 1) is new
    for part in held(new, old, mask, 1):
        assert part.tolist() == [[1, 1, 1], [0, 0, 0]]


def test_means_leave_padding_out() -> None:
    x = torch.tensor([[[1.0], [3.0], [math.nan]], [[5.0], [math.nan], [math.nan]], [[7.0], [7.0], [7.0]]])
    mask = torch.tensor([[True, True, False], [True, False, False], [False, False, False]])
    assert mean_over_steps(x, mask).tolist() == [[2.0], [5.0], [0.0]]


def test_the_last_real_steps_are_counted_from_the_end() -> None:
    x = torch.arange(8.0).view(2, 4)
    mask = torch.tensor([[True, True, True, False], [False, True, False, False]])
    assert last_steps(x, mask, 2)[1].tolist() == [[False, True, True, False], [False, True, False, False]]  # type: ignore[union-attr]
    assert last_steps(x, mask, 0)[1] is mask
    assert last_steps(x, None, 3)[0].tolist() == x[:, 1:].tolist()
    assert last_steps(x, None, 9)[0].shape == x.shape
    assert last_steps(x, None, 0)[0] is x


@pytest.mark.parametrize("multi_label", [False, True])
def test_scores_are_logits_of_mean_probabilities(multi_label: bool) -> None:
    logits = 3 * torch.randn(2, 4, K, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True, True, True, False], [True, True, True, True]])

    def probabilities(x: Tensor, dim: int) -> Tensor:
        return x.sigmoid() if multi_label else x.softmax(dim=dim)

    scores = probabilities(scores_of_clip(logits, mask, multi_label=multi_label), 1)
    torch.testing.assert_close(scores[0], probabilities(logits, 2)[0, :3].mean(dim=0))
    torch.testing.assert_close(scores[1], probabilities(logits, 2)[1].mean(dim=0))
    unmasked = probabilities(scores_of_clip(logits, multi_label=multi_label), 1)
    torch.testing.assert_close(unmasked, probabilities(logits, 2).mean(dim=1))


def test_confident_steps_do_not_overflow_the_scores() -> None:
    logits = torch.tensor([[[1e4, -1e4], [1e4, -1e4]]])
    for multi_label in (False, True):
        assert scores_of_clip(logits, multi_label=multi_label).isfinite().all()


def test_a_clip_of_padding_alone_gives_finite_scores_and_gradients() -> None:
    logits = torch.randn(2, 3, K, requires_grad=True)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    scores = scores_of_clip(logits, mask)
    scores[0].sum().backward()
    assert scores.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert not logits.grad[0, 2].any()


def test_both_dropouts_of_the_head_act_with_their_probability() -> None:
    torch.manual_seed(0)

    def ones(weight: Tensor, /, **_: object) -> None:
        nn.init.ones_(weight)

    x = torch.ones(64, 10, 50)
    head = StepHead(50, 40, dropout_state=0.5, dropout=0.0, draw=ones)
    seen: list[Tensor] = []
    head.hidden.register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]))
    head(x)
    assert 0.48 < (seen[0] == 0).float().mean() < 0.52
    assert set(seen[0].unique().tolist()) == {0.0, 2.0}  # inverted: what is left is scaled up in training
    head = StepHead(50, 40, dropout_state=0.0, dropout=0.7, draw=ones)
    assert 0.68 < (head(x) == 0).float().mean() < 0.72
    head.eval()
    assert not (head(x) == 0).any()
