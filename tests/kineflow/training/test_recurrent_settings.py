"""Settings of recurrent training: what fits together, and what is refused before anything runs."""

from __future__ import annotations

from typing import get_args

import pytest

from kineflow.models.registry import hyperparameters_of
from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError
from kineflow.training.recurrent_settings import KEYWORDS, NetworkName, RecurrentSettings

FOLLOW_FROM_FEATURES = {"backbone", "width", "output_stride", "cells", "grid"}


def parse(**values: object) -> RecurrentSettings:
    return parse_params(RecurrentSettings, values, where="attention")


@pytest.mark.parametrize("name", get_args(NetworkName))
def test_keywords_are_those_of_the_networks(name: NetworkName) -> None:
    assert set(hyperparameters_of(name)) - FOLLOW_FROM_FEATURES == KEYWORDS[name]


def test_only_what_was_given_is_passed_on() -> None:
    assert parse(network={"name": "alstm"}).network.keywords() == {}
    given = {"layers": 1, "attention": "max", "multi_label": False, "scored_steps": 0}
    assert parse(network={"name": "alstm", **given}).network.keywords() == given


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"network": {"name": "cube_regression", "hidden": 64}}, "cube_regression has no hidden; it has multi_label"),
        ({"network": {"name": "conv_lstm", "rescale": True, "layers": 2}}, "has no layers and no rescale"),
        ({"network": {"name": "alstm", "hiden": 64}}, "attention.network.hiden: unknown key; known keys: attention"),
        ({"network": {"name": "lstm"}}, "attention.network.name"),
        ({"network": {"hidden": 0}}, "attention.network.hidden"),
        ({"label_smoothing": 0.1}, "label_smoothing must be 0"),
        ({"attention_penalty": 1, "network": {"attention": "average"}}, "this alstm has no attention"),
        ({"attention_penalty": 1, "network": {"name": "conv_lstm"}}, "this conv_lstm has no attention"),
        ({"attention_penalty": -1}, "attention_penalty"),
        ({"steps": 3, "validate_every_steps": 2}, "multiple of validate_every_steps"),
        ({"crop": 224}, "attention.crop: unknown key"),
    ],
)
def test_what_does_not_fit_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(KineflowError) as caught:
        parse(**values)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["alstm", "vgg_alstm", "conv_alstm", "motion_alstm", "videolstm"])
def test_networks_with_attention_may_be_penalised(name: str) -> None:
    assert parse(network={"name": name}, attention_penalty=10).attention_penalty == 10
