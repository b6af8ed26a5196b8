from pathlib import Path

import pytest
import torch

from components.extract_features import extract_features
from components.frontend.run import execute
from components.train_recurrent import train_recurrent
from kineflow.models.bundle import load_bundle, save_bundle
from kineflow.models.card import ModelCard
from kineflow.models.registry import create_model
from kineflow.spec.preprocessing import Preprocessing
from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError
from kineflow.training.recurrent_settings import RecurrentSettings

SMALL = {"hidden": 4, "head_width": 8}
PARAMS = {"frames": 3, "steps": 4, "validate_every_steps": 2, "batch_size": 3}


@pytest.fixture(scope="module")
def streams(tiny_data, tmp_path_factory) -> dict[str, tuple[Path, Path]]:
    """Features and backbone of frames, and of flow."""
    folder, made = tmp_path_factory.mktemp("streams"), {}
    for modality, channels in (("rgb", 3), ("flow", 2)):
        hyperparameters = {"backbone": "googlenet", "width": 0.125, "output_stride": 8}
        torch.manual_seed(channels)
        network = create_model("tsn", num_classes=0, in_channels=channels, **hyperparameters)
        preprocessing = Preprocessing(modality, 1, 1, 16, 16, (100.0,) * channels, (50.0,) * channels, segments=1)
        save_bundle(folder / modality, network, ModelCard(modality, "tsn", hyperparameters, (), preprocessing))
        made[modality] = folder / f"{modality}-features", folder / modality
        given = {"clips": tiny_data.clips, "flow": tiny_data.flow, "backbone": folder / modality, "params": {}}
        execute(extract_features, {**given, "features": made[modality][0]})
    return made


@pytest.fixture
def given(tiny_data, streams, tmp_path) -> dict:
    features, backbone = streams["rgb"]
    params = {**PARAMS, "network": {"name": "alstm", **SMALL, "layers": 1}}
    return {"clips": tiny_data.clips, "features": features, "backbone": backbone, "params": params, "name": "attention",
            "model": tmp_path / "out" / "model"}  # fmt: skip


def run(given: dict):
    return execute(train_recurrent, given)


@pytest.mark.slow
def test_writes_a_model_and_nothing_else(given):
    result = run(given)
    network, card = load_bundle(given["model"])
    assert (card.name, card.architecture, card.classes) == ("attention", "alstm", ("dark", "light"))
    assert card.hyperparameters["cells"] == 4
    assert {path.name for path in given["model"].iterdir()} == {"model.safetensors", "model.json", "curves.csv"}
    assert [path.name for path in given["model"].parent.iterdir()] == ["model"]
    assert {"val/top1", "clips_per_second"} <= result.metrics.keys()
    with torch.no_grad():
        assert network(torch.rand(2, 3, 3, 16, 16)).shape == (2, 2)
        assert network.attention(torch.rand(2, 3, 3, 16, 16)).shape == (2, 3, 2, 2)


def test_it_predicts_a_video(given, tiny_data):
    from kineflow.serving.predict import predict_video

    run(given)
    network, card = load_bundle(given["model"])
    probabilities = predict_video(tiny_data.clips / "media" / "train-0.mp4", network, card)
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_videolstm_from_its_parents(given, streams, tmp_path):
    parents = {}
    for role, modality, name in (("appearance", "rgb", "conv_alstm"), ("motion", "flow", "conv_lstm")):
        features, backbone = streams[modality]
        parents[f"{role}_parent"] = tmp_path / role
        params = {**PARAMS, "network": {"name": name, **SMALL}}
        made = {"features": features, "backbone": backbone, "params": params, "name": role, "model": tmp_path / role}
        run({**given, **made})
    motion_features, motion_backbone = streams["flow"]
    both = {**given, "motion_features": motion_features, "motion_backbone": motion_backbone, **parents}
    params = {**PARAMS, "network": {"name": "videolstm", **SMALL, "bottom_kernel": 3}}
    run({**both, "params": params})
    network, card = load_bundle(given["model"])
    assert card.preprocessing.modality == "rgb_flow"
    assert {"appearance_parent", "motion_parent", "motion_backbone"} <= card.lineage.keys()
    with torch.no_grad():
        assert network(torch.rand(2, 5, 3, 16, 16)).shape == (2, 2)


@pytest.mark.parametrize("only", ["motion_features", "motion_backbone", "appearance_parent", "motion_parent"])
def test_inputs_that_go_together(given, only):
    with pytest.raises(KineflowError, match="go together, and one is missing"):
        run({**given, only: given["backbone"]})


class InterruptsAt:
    """A tracker that presses Ctrl-C when it hears of a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def log_metrics(self, metrics: dict, step: int) -> None:
        if step == self.step:
            raise KeyboardInterrupt

    def set_tags(self, tags: dict) -> None:
        pass


@pytest.mark.slow
def test_an_interrupted_run_leaves_no_model_and_goes_on_next_time(given, tmp_path):
    run({**given, "model": tmp_path / "undisturbed"})
    arguments = {**given, "params": parse_params(RecurrentSettings, given["params"], where="params")}
    with pytest.raises(KeyboardInterrupt):
        train_recurrent(**arguments, tracker=InterruptsAt(4))
    assert not given["model"].exists()
    train_recurrent(**arguments, tracker=InterruptsAt(2))  # step 2 is done already, and not heard of again
    expected = load_bundle(tmp_path / "undisturbed")[0].state_dict()
    assert all(
        torch.equal(value, expected[name]) for name, value in load_bundle(given["model"])[0].state_dict().items()
    )


@pytest.mark.parametrize("missing", ["clips", "features", "backbone"])
def test_inputs_that_are_not_there(given, tmp_path, missing):
    with pytest.raises(KineflowError) as caught:
        run({**given, missing: tmp_path / "absent"})
    assert str(tmp_path / "absent") in str(caught.value)
    assert not given["model"].exists()


def test_a_network_and_keywords_that_do_not_fit(given):
    params = {**PARAMS, "network": {"name": "conv_lstm", "layers": 2}}
    with pytest.raises(KineflowError, match="conv_lstm has no layers"):
        run({**given, "params": params})
