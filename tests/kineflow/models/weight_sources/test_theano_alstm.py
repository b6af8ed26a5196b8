"""The authors' network at test, step by step in numpy, from parameters that ``numpy.savez`` wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from kineflow.models.alstm import ALSTM
from kineflow.models.matching import fitting
from kineflow.models.weight_formats.theano import read_theano
from kineflow.models.weights import load_weights

CHANNELS, HIDDEN, OUT, CLASSES, CELLS, STEPS = 6, 5, 4, 3, 9, 4
Parameters = dict[str, np.ndarray]


def drawn(attention_layers: int) -> Parameters:
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "ff_state_W": (CHANNELS, HIDDEN), "ff_state_b": (HIDDEN,), "ff_memory_W": (CHANNELS, HIDDEN),
        "ff_memory_b": (HIDDEN,), "decoder_W": (CHANNELS, 4 * HIDDEN), "decoder_U": (HIDDEN, 4 * HIDDEN),
        "decoder_b": (4 * HIDDEN,), "decoder_Wc_att": (CHANNELS, CHANNELS), "decoder_Wd_att": (HIDDEN, CHANNELS),
        "decoder_b_att": (CHANNELS,), "decoder_U_att": (CHANNELS, 1), "decoder_c_tt": (1,),
        "ff_logit_lstm_W": (HIDDEN, OUT), "ff_logit_lstm_b": (OUT,), "ff_logit_W": (OUT, CLASSES),
        "ff_logit_b": (CLASSES,),
    }  # fmt: skip
    for layer in range(1, attention_layers):
        shapes |= {f"decoder_W_att_{layer}": (CHANNELS, CHANNELS), f"decoder_b_att_{layer}": (CHANNELS,)}
    return {name: rng.normal(0, 0.7, shape).astype(np.float32) for name, shape in shapes.items()}


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def logits_of(p: Parameters, x: np.ndarray, attention_layers: int) -> np.ndarray:
    """[T,N,C] → [T,K]; dropout at test is a half of everything."""
    mean = x.mean((0, 1))
    h, c = (np.tanh(mean @ p[f"ff_{kind}_W"] + p[f"ff_{kind}_b"]) for kind in ("state", "memory"))
    logits = []
    for step in x:
        keys = step @ p["decoder_Wc_att"] + p["decoder_b_att"]
        for layer in range(1, attention_layers):
            keys = keys @ p[f"decoder_W_att_{layer}"] + p[f"decoder_b_att_{layer}"]
            if layer < attention_layers - 1:
                keys = np.tanh(keys)
        scores = np.tanh(keys + h @ p["decoder_Wd_att"]) @ p["decoder_U_att"] + p["decoder_c_tt"]
        weights = np.exp(scores[:, 0]) / np.exp(scores[:, 0]).sum()
        gates = h @ p["decoder_U"] + weights @ step @ p["decoder_W"] + p["decoder_b"]
        i, f, o, g = np.split(gates, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        hidden = np.tanh(0.5 * h @ p["ff_logit_lstm_W"] + p["ff_logit_lstm_b"])
        logits.append(0.5 * hidden @ p["ff_logit_W"] + p["ff_logit_b"])
    return np.stack(logits)


@pytest.mark.parametrize("attention_layers", [1, 3])
def test_the_authors_parameters_give_their_answers(tmp_path: Path, attention_layers: int) -> None:
    parameters = drawn(attention_layers)
    np.savez(tmp_path / "model.npz", history_errs=[[0.5, 0.4]], zipped_params=parameters, **parameters)
    state = {name: torch.tensor(array) for name, array in read_theano(tmp_path / "model.npz").items()}
    network = ALSTM(
        num_classes=CLASSES, in_channels=CHANNELS, cells=CELLS, hidden=HIDDEN, head_width=OUT, layers=1,
        attention="additive", attention_layers=attention_layers,
    ).eval()  # fmt: skip
    report = load_weights(network, state, where="model.npz")
    assert (report.classifier_loaded, report.left_out) == (True, ("history_errs",))
    x = np.random.default_rng(1).normal(size=(STEPS, CELLS, CHANNELS)).astype(np.float32)
    with torch.inference_mode():
        answers = network.forward_steps(torch.from_numpy(x)[None]).logits[0].numpy()
    np.testing.assert_allclose(answers, logits_of(parameters, x, attention_layers), rtol=1e-4, atol=1e-5)
    assert [name for name, _ in fitting(state)] == ["alstm"]


def test_parts_that_our_network_has_not_are_not_dropped_in_silence() -> None:
    state = {name: torch.tensor(array) for name, array in {**drawn(1), "decoder_W_sel": np.ones((5, 1))}.items()}
    assert list(fitting(state)) == []
