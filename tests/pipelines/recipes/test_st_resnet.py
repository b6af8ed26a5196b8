"""The ST-ResNet recipe: its parameter files, and what they say of the paper."""

from typing import Any

import pytest

from pipelines.dag.graph import graph_of
from pipelines.dag.params import load_params, schema_of
from pipelines.dag.sources import ROOT

FILES = ("st_resnet.yaml", "st_resnet_ucf101.yaml")
VIDEOS = 9537  # training split 1 of UCF101


@pytest.fixture(scope="module")
def paper() -> dict[str, Any]:
    return load_params(graph_of("st_resnet"), ROOT / "params" / "st_resnet_ucf101.yaml")


@pytest.mark.parametrize("name", FILES)
def test_committed_parameter_files_are_valid(name: str) -> None:
    checked = load_params(graph_of("st_resnet"), ROOT / "params" / name)
    assert list(checked) == list(schema_of(graph_of("st_resnet")))
    network = checked["network"]
    assert (network["backbone"], network["segments"]) == ("resnet50", 1)
    assert checked["appearance"]["frames"] == 1
    assert checked["motion"]["frames"] == network["flow_frames"]
    # The third step changes the pool over time, and nothing else that weights depend on.
    assert {**checked["join_star"], "temporal_pool": False} == checked["join"]
    assert checked["join_star"]["temporal_pool"]
    for section in ("short_side", "crop"):
        assert len({checked[name][section] for name in ("appearance", "motion", "st_resnet", "st_resnet_star")}) == 1


def test_the_two_streams_are_fused_as_in_the_paper(paper: dict[str, Any]) -> None:
    assert [fusion["models"] for fusion in paper["evaluation"]["fusion"]] == [["appearance", "motion"]]
    assert paper["evaluation"]["fusion"][0]["average"] == "logits"


@pytest.mark.parametrize(
    ("section", "rates", "looks_an_epoch", "batch_size"),
    [
        ("appearance", (1e-2, 1e-2, 1e-3, 1e-3, 1e-4, 1e-4), 10, 256),
        ("motion", (1e-2, 1e-3, 1e-4, 1e-5), 100, 128),
        ("st_resnet", (1e-3, 1e-3, 1e-3, 1e-4, 1e-4, 1e-4, 1e-5, 1e-5), 10, 128),
        ("st_resnet_star", (1e-4, 1e-5), 1, 128),
    ],
)
def test_schedules_are_the_authors(
    paper: dict[str, Any], section: str, rates: tuple[float, ...], looks_an_epoch: int, batch_size: int
) -> None:
    """As their files have them for UCF101: a rate for each of their epochs."""
    settings, optimiser = paper[section], paper[section]["optimiser"]
    scale = settings["batch_size"] / batch_size  # a smaller batch has a smaller rate, and more steps
    looks = len(rates) * looks_an_epoch
    assert settings["steps"] * settings["batch_size"] / VIDEOS == pytest.approx(looks, rel=0.005)
    assert optimiser["learning_rate"] == pytest.approx(rates[0] * scale)
    assert [round(share * len(rates), 2) for share in optimiser["milestones"]] == [
        epoch for epoch in range(1, len(rates)) if rates[epoch] < rates[epoch - 1]
    ]
    assert (optimiser["name"], optimiser["schedule"]) == ("sgd", "steps")
    assert (optimiser["momentum"], optimiser["weight_decay"], optimiser["bias_lr_mult"]) == (0.9, 5e-4, 2)
    assert settings["crop"] == 224


@pytest.mark.parametrize(("section", "frames", "strides"), [("st_resnet", 5, (5, 15)), ("st_resnet_star", 11, (1, 15))])
def test_joined_networks_see_the_authors_clips(
    paper: dict[str, Any], section: str, frames: int, strides: tuple[int, int]
) -> None:
    settings = paper[section]
    assert settings["frames"] == frames
    assert (settings["stride_frames"], settings["stride_frames_max"]) == strides
    assert settings["batch_size"] >= 4, "normalisation takes its statistics over four clips"
    assert (settings["test_frames"], settings["test_stride_frames"]) == (25, 15)
    assert (settings["short"], settings["short_side"]) == ("closer", 256)


def test_the_networks_are_the_paper_s(paper: dict[str, Any]) -> None:
    network = paper["network"]
    assert (network["width"], network["output_stride"], network["flow_frames"]) == (1.0, 32, 10)
    assert (network["rgb_dropout"], network["flow_dropout"]) == (0.0, 0.8)
    assert network["cross_modality"]
    assert paper["join"] == {
        "injection": "add",
        "direction": "motion_to_appearance",
        "temporal_init": "average",
        "temporal_pool": False,
        "freeze_norm": False,
        "dropout": 0.0,
    }
    assert paper["evaluation"]["crops"] == "whole"
