import pytest
import torch

from components.frontend.run import execute
from components.train import train
from kineflow.models.bundle import load_bundle
from kineflow.storage.errors import KineflowError

pytestmark = pytest.mark.slow

PARAMS = {
    "frames": 4, "short_side": 16, "crop": 12, "steps": 4, "validate_every_steps": 2, "batch_size": 3, "flip": False,
}  # fmt: skip


class InterruptsAt:
    """A tracker that presses Ctrl-C when it hears of a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def log_metrics(self, metrics: dict, step: int) -> None:
        if step == self.step:
            raise KeyboardInterrupt

    def set_tags(self, tags: dict) -> None:
        pass


@pytest.fixture(autouse=True)
def untracked(monkeypatch):
    for variable in ("KINEFLOW_RUN_ID", "DVC_STAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def given(tiny_data, tiny_initial, tmp_path) -> dict:
    return {"clips": tiny_data.clips, "initial": tiny_initial["rgb"], "params": PARAMS, "name": "plain",
            "model": tmp_path / "out" / "model"}  # fmt: skip


def weights(model) -> dict[str, torch.Tensor]:
    return load_bundle(model)[0].state_dict()


def test_writes_a_model_and_nothing_else(given):
    result = execute(train, given)
    _, card = load_bundle(given["model"])
    assert card.name == "plain"
    assert {path.name for path in given["model"].iterdir()} == {"model.safetensors", "model.json", "curves.csv"}
    assert [path.name for path in given["model"].parent.iterdir()] == ["model"]
    assert {"val/top1", "val/loss", "clips_per_second"} <= result.metrics.keys()
    assert result.artifacts == {"model": given["model"]}
    assert result.summary.startswith("best after ")


def test_the_flow_stream(given, tiny_data, tiny_initial):
    execute(train, {**given, "initial": tiny_initial["flow"], "flow": tiny_data.flow})
    assert load_bundle(given["model"])[1].preprocessing.modality == "flow"


def test_an_interrupted_run_leaves_no_model_and_goes_on_next_time(given, tmp_path):
    from kineflow.storage.config import parse_params
    from kineflow.training.settings import TrainSettings

    execute(train, {**given, "model": tmp_path / "undisturbed"})
    arguments = {**given, "params": parse_params(TrainSettings, PARAMS, where="params")}
    with pytest.raises(KeyboardInterrupt):
        train(**arguments, tracker=InterruptsAt(4))
    assert not given["model"].exists()
    train(**arguments, tracker=InterruptsAt(2))  # step 2 is done already, and not heard of again
    expected = weights(tmp_path / "undisturbed")
    assert all(torch.equal(value, expected[name]) for name, value in weights(given["model"]).items())
    assert [path.name for path in given["model"].parent.iterdir()] == ["model"]


@pytest.mark.parametrize("missing", ["clips", "initial"])
def test_inputs_that_are_not_there(given, tmp_path, missing):
    with pytest.raises(KineflowError) as caught:
        execute(train, {**given, missing: tmp_path / "absent"})
    assert str(tmp_path / "absent") in str(caught.value)
    assert not given["model"].exists()
