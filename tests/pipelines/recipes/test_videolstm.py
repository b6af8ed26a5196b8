"""The VideoLSTM recipe: its DAG, its parameter files, and what they say of the paper."""

from typing import Any

import pytest

from pipelines.dag.graph import Produced, Task, graph_of
from pipelines.dag.params import load_params, schema_of
from pipelines.dag.sources import ROOT

FILES = ("videolstm.yaml", "videolstm_ucf101.yaml")
STREAMS = {"appearance": ("appearance_net", "appearance-features"), "motion": ("motion_net", "motion-features")}
MODELS = {"appearance": "appearance", "motion_conv_lstm": "motion", "motion": "motion"}


@pytest.fixture(scope="module")
def tasks() -> dict[str, Task]:
    return {task.name: task for task in graph_of("videolstm").tasks}


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


def test_tasks_and_their_steps(tasks: dict[str, Task]) -> None:
    assert {name: task.step for name, task in tasks.items()} == {
        "ingest": "ingest",
        "validate": "validate",
        "extract-flow": "extract_flow",
        "pretrain-tsn": "pretrain_tsn",
        **dict.fromkeys(("appearance_net", "motion_net"), "train"),
        **dict.fromkeys(("appearance-features", "motion-features"), "extract_features"),
        **dict.fromkeys((*MODELS, "videolstm"), "train_recurrent"),
        "evaluate": "evaluate",
        "localise": "localise",
        "register": "register",
    }


def test_each_network_has_its_own_start_and_features(tasks: dict[str, Task]) -> None:
    clips, flow = Produced("ingest", "clips"), Produced("extract-flow", "flow")
    assert tasks["appearance_net"].inputs == {"clips": clips, "initial": Produced("pretrain-tsn", "rgb")}
    assert tasks["motion_net"].inputs == {"clips": clips, "flow": flow, "initial": Produced("pretrain-tsn", "flow")}
    assert tasks["appearance-features"].inputs == {"clips": clips, "backbone": Produced("appearance_net", "model")}
    assert tasks["motion-features"].inputs == {
        "clips": clips,
        "flow": flow,
        "backbone": Produced("motion_net", "model"),
    }
    for name, stream in MODELS.items():
        net, features = STREAMS[stream]
        assert tasks[name].inputs == {
            "clips": clips,
            "backbone": Produced(net, "model"),
            "features": Produced(features, "features"),
        }
        assert tasks[name].sections["params"] == tasks[name].constants["name"] == name


def test_videolstm_reads_both_streams_and_starts_from_its_parents(tasks: dict[str, Task]) -> None:
    assert tasks["videolstm"].inputs == {
        "clips": Produced("ingest", "clips"),
        "features": Produced("appearance-features", "features"),
        "backbone": Produced("appearance_net", "model"),
        "motion_features": Produced("motion-features", "features"),
        "motion_backbone": Produced("motion_net", "model"),
        "appearance_parent": Produced("appearance", "model"),
        "motion_parent": Produced("motion_conv_lstm", "model"),
    }
    assert tasks["videolstm"].sections["params"] == "attending"
    assert tasks["register"].inputs["model"] == Produced("videolstm", "model")


def test_models_with_attention_are_localised(tasks: dict[str, Task]) -> None:
    inputs = tasks["localise"].inputs
    assert (inputs["clips"], inputs["flow"]) == (Produced("ingest", "clips"), Produced("extract-flow", "flow"))
    assert [made.task for made in tasks["localise"].paths("models")] == ["videolstm", "appearance", "motion"]
    assert len(tasks["evaluate"].paths("models")) == 6


def test_nothing_is_trained_before_validation_has_passed(tasks: dict[str, Task]) -> None:
    assert tasks["extract-flow"].after == ("validate",)
    assert tasks["appearance_net"].after == ("validate",)


def test_training_and_test_are_the_paper_s(paper: dict[str, Any]) -> None:
    epoch = 9537 / 128
    for section, epochs in (("motion_conv_lstm", 300), ("appearance", 300), ("motion", 300), ("attending", 400)):
        settings = paper[section]
        assert (settings["frames"], settings["stride_frames"], settings["batch_size"]) == (30, 1, 128)
        assert settings["steps"] == pytest.approx(epochs * epoch, rel=0.001)
        assert (settings["windows"], settings["reduction"], settings["l2"]) == ("random", "mean", 0)
        optimiser = settings["optimiser"]
        assert (optimiser["name"], optimiser["learning_rate"], optimiser["schedule"]) == ("rmsprop", 1e-3, "constant")
        assert (optimiser["alpha"], optimiser["eps"], optimiser["weight_decay"]) == (0.9, 1e-3, 0)
        assert (settings["network"]["hidden"], settings["network"]["dropout"]) == (512, 0.7)
    assert (paper["network"]["rgb_dropout"], paper["network"]["flow_dropout"]) == (0.9, 0.8)
    assert (paper["network"]["backbone"], paper["network"]["normalisation"]) == ("vgg16", "caffe")
    assert (paper["evaluation"]["clips_per_video"], paper["evaluation"]["windows"]) == (25, "spread")
    assert paper["localisation"]["least_iou"] == 0.2
