"""The VideoLSTM recipe: its parameter files, and what they say of the paper."""

from typing import Any

import pytest

from pipelines.dag.graph import graph_of
from pipelines.dag.params import load_params, schema_of
from pipelines.dag.sources import ROOT

FILES = ("videolstm.yaml", "videolstm_ucf101.yaml")
MODELS = ("appearance", "motion_conv_lstm", "motion")


@pytest.fixture(scope="module")
def paper() -> dict[str, Any]:
    return load_params(graph_of("videolstm"), ROOT / "params" / "videolstm_ucf101.yaml")


@pytest.mark.parametrize("name", FILES)
def test_committed_parameter_files_are_valid(name: str) -> None:
    checked = load_params(graph_of("videolstm"), ROOT / "params" / name)
    assert list(checked) == list(schema_of(graph_of("videolstm")))
    networks = {section: checked[section]["network"] for section in (*MODELS, "attending")}
    assert {section: network["name"] for section, network in networks.items()} == {
        "appearance": "conv_alstm",
        "motion_conv_lstm": "conv_lstm",
        "motion": "conv_alstm",
        "attending": "videolstm",
    }
    # The parents' weights fit: the same widths, and the bottom's kernels are the flow ConvLSTM's (3 by default).
    assert networks["attending"]["bottom_kernel"] == networks["motion_conv_lstm"].get("kernel", 3) == 3
    shared = {"hidden", "head_width", "dropout", "pool", "kernel"}
    assert len({tuple(sorted((k, v) for k, v in n.items() if k in shared)) for n in networks.values()}) == 1
    attention = ("normalisation", "rescale")
    assert len({tuple(networks[section].get(key) for key in attention) for section in ("appearance", "attending")}) == 1
    assert len({checked[section]["frames"] for section in (*MODELS, "attending")}) == 1
    for section in ("spatial", "temporal"):
        assert (checked[section]["frames"], checked[section]["fit"]) == (1, "squash")
    assert checked["network"]["flow_frames"] == checked["network"]["segments"] == 1
    assert ["videolstm", "motion"] in [fusion["models"] for fusion in checked["evaluation"]["fusion"]]


def test_training_and_test_are_the_paper_s(paper: dict[str, Any]) -> None:
    for section, epochs in (("motion_conv_lstm", 300), ("appearance", 300), ("motion", 300), ("attending", 400)):
        settings = paper[section]
        assert (settings["frames"], settings["stride_frames"], settings["batch_size"]) == (30, 1, 128)
        assert (settings["epochs"], settings["keep"]) == (epochs, "last")
        assert (settings["windows"], settings["reduction"], settings["l2"]) == ("random", "mean", 0)
        optimiser = settings["optimiser"]
        assert (optimiser["name"], optimiser["learning_rate"], optimiser["schedule"]) == ("rmsprop", 1e-3, "constant")
        assert (optimiser["alpha"], optimiser["eps"], optimiser["weight_decay"]) == (0.9, 1e-3, 0)
        assert (settings["network"]["hidden"], settings["network"]["dropout"]) == (512, 0.7)
    assert (paper["network"]["rgb_dropout"], paper["network"]["flow_dropout"]) == (0.9, 0.8)
    assert (paper["network"]["backbone"], paper["network"]["normalisation"]) == ("vgg16", "caffe")
    assert (paper["evaluation"]["clips_per_video"], paper["evaluation"]["windows"]) == (25, "spread")
    assert paper["localisation"]["least_iou"] == 0.2
