"""The key that names the flow of a clip."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from kineflow.flow.extraction.settings import ExtractSettings
from kineflow.flow.params import PRESETS


def test_batches_threads_and_devices_are_not_part_of_the_key() -> None:
    other = ExtractSettings(batch_pairs=99, workers=7, devices=("cuda:0", "cuda:1"))
    assert other.key("a") == ExtractSettings().key("a") != ExtractSettings().key("b")


@pytest.mark.parametrize(
    "changes",
    [{"tvl1": PRESETS["capped"]}, {"camera_motion": "removed"}, {"bound_px": 5.0}, {"crf": 0}, {"gop": 7}],
    ids=lambda changes: next(iter(changes)),
)
def test_all_that_changes_the_flow_is(changes: dict[str, Any]) -> None:
    assert dataclasses.replace(ExtractSettings(), **changes).key("a") != ExtractSettings().key("a")


def test_equal_parameters_keep_their_key() -> None:
    """Or else every finished file of every user would be computed again; a new format version may change it."""
    settings = ExtractSettings(tvl1=PRESETS["capped"], bound_px=20.0, crf=10, gop=12)
    assert (settings.described()["format"], settings.key("clip")) == (2, "56259f2b67ef")
