"""ALSTM's own parameters, of its authors' program in Theano: ``decoder_W``, ``ff_state_W`` and so on.

https://github.com/kracwarlock/action-recognition-visual-attention. Matrices are [in,out]; gates lie in our order. All
its published configurations drop a half without scaling what is left, and take a half of everything in tests instead:
the two matrices that see it are halved here. Its optional parts (a selector, a path from the features to the output,
more layers) have no place in our network.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from kineflow.models.normalisation import Normalisation
from kineflow.models.weight_sources.source import Source, Tensors

if TYPE_CHECKING:
    from torch import Tensor

_KEPT = 0.5
_SEE_WHAT_IS_KEPT = ("ff_logit_lstm_W", "ff_logit_W")
_NAMES = {
    "decoder_W": "lstm.0.input.weight",
    "decoder_b": "lstm.0.input.bias",
    "decoder_U": "lstm.0.recurrent.weight",
    "decoder_Wc_att": "attention.from_region.weight",
    "decoder_b_att": "attention.from_region.bias",
    "decoder_Wd_att": "attention.from_state.weight",
    "decoder_U_att": "attention.score.weight",
    "decoder_c_tt": "attention.score.bias",
    "ff_state_W": "initial_hidden.0.weight",
    "ff_state_b": "initial_hidden.0.bias",
    "ff_memory_W": "initial_memory.0.weight",
    "ff_memory_b": "initial_memory.0.bias",
    "ff_logit_lstm_W": "head.hidden.0.weight",
    "ff_logit_lstm_b": "head.hidden.0.bias",
    "ff_logit_W": "head.classifier.weight",
    "ff_logit_b": "head.classifier.bias",
}
_HISTORY = ("history_errs", "train_err", "valid_err", "test_err")
_DEEPER = {"decoder_W_att_": "weight", "decoder_b_att_": "bias"}


def _holds(names: Collection[str]) -> bool:
    return {"decoder_W", "decoder_U", "decoder_Wc_att", "ff_state_W", "ff_logit_lstm_W"} <= set(names)


def _renamed(tensors: Tensors) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in tensors.items():
        if name in _HISTORY:
            continue
        own = _NAMES.get(name) or _deeper(name)
        kept = tensor * _KEPT if name in _SEE_WHAT_IS_KEPT else tensor
        renamed[own or name] = kept.T if own.endswith(".weight") else kept
    return renamed


def _deeper(name: str) -> str:
    """Of the attention's further layers, counted from 1; a tanh stands between each two of ours."""
    for beginning, kind in _DEEPER.items():
        if name.startswith(beginning) and name.removeprefix(beginning).isdecimal():
            return f"attention.deeper.{2 * int(name.removeprefix(beginning)) - 2}.{kind}"
    return ""


def _takes(_: Tensors) -> Normalisation | None:
    return None


THEANO_ALSTM = Source("the authors' ALSTM in Theano", "alstm", _holds, _renamed, _takes)
