"""From a flow stream to a network that finds its own flow, and that trains and answers like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from components.frontend.run import execute
from components.pretrain_learnt_flow import pretrain_learnt_flow
from components.train import train
from kineflow.models.bundle import load_bundle
from kineflow.models.learnt_flow import LearntFlow
from kineflow.models.pwc_net import PWCNet
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of

pytestmark = pytest.mark.slow

TRAINING = {
    "frames": 4, "short_side": 16, "crop": 16, "steps": 2, "validate_every_steps": 1, "batch_size": 2, "flip": False,
}  # fmt: skip
PARAMS = {"width": 0.125, "steps": 2, "batch_size": 3}


@pytest.fixture(autouse=True)
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("KINEFLOW_RUN_ID", "DVC_STAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(scope="module")
def stream(tiny_data, tiny_initial, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained flow stream."""
    folder = tmp_path_factory.mktemp("stream") / "teacher"
    given = {"clips": tiny_data.clips, "flow": tiny_data.flow, "initial": tiny_initial["flow"], "params": TRAINING}
    execute(train, {**given, "name": "teacher", "model": folder})
    return folder


def start(tiny_data: Any, stream: Path, model: Path, **params: Any) -> Any:
    given = {"clips": tiny_data.clips, "flow": tiny_data.flow, "stream": stream, "params": {**PARAMS, **params}}
    return execute(pretrain_learnt_flow, {**given, "name": "start", "seed": 1, "model": model})


def test_the_stream_is_kept_behind_an_estimator_that_has_learnt(tiny_data, stream: Path, tmp_path: Path) -> None:
    result = start(tiny_data, stream, tmp_path / "model")
    network, card = load_bundle(tmp_path / "model")
    teacher, taught = load_bundle(stream)
    assert isinstance(network, LearntFlow)
    assert all(torch.equal(value, network.stream.state_dict()[name]) for name, value in teacher.state_dict().items())
    assert (card.name, card.classes, card.architecture) == ("start", ("dark", "light"), "learnt_flow")
    assert (card.preprocessing.modality, card.preprocessing.mean) == ("rgb", (0.0, 0.0, 0.0))
    assert (network.bound_px, network.flow_mean, network.flow_std) == (20.0, 128.0, 64.0)
    assert card.lineage["stream"] == taught.name == "teacher"
    assert card.lineage["estimator"] == "from scratch, 2 steps on flow"
    assert result.metrics["end_point_error_px"] > 0
    torch.manual_seed(0)
    start(tiny_data, stream, tmp_path / "again")
    again = load_bundle(tmp_path / "again")[0].state_dict()
    assert all(torch.equal(value, again[name]) for name, value in network.state_dict().items())


def test_training_tunes_estimator_and_stream_together(tiny_data, stream: Path, tmp_path: Path) -> None:
    start(tiny_data, stream, tmp_path / "initial")
    given = {"clips": tiny_data.clips, "initial": tmp_path / "initial", "params": TRAINING, "name": "learnt-flow"}
    execute(train, {**given, "model": tmp_path / "model"})
    before, after = (load_bundle(tmp_path / name)[0] for name in ("initial", "model"))
    assert isinstance(before, LearntFlow)
    assert isinstance(after, LearntFlow)
    for part in ("estimator.conv1a.0.weight", "stream.features.0.0.0.weight"):
        assert not torch.equal(before.state_dict()[part], after.state_dict()[part])
    with torch.no_grad():
        assert after(torch.rand(1, 3, 4, 16, 16) * 255).isfinite().all()


def test_a_frozen_estimator_is_not_tuned(tiny_data, stream: Path, tmp_path: Path) -> None:
    start(tiny_data, stream, tmp_path / "initial", frozen=True)
    given = {"clips": tiny_data.clips, "initial": tmp_path / "initial", "params": TRAINING, "name": "learnt-flow"}
    execute(train, {**given, "model": tmp_path / "model"})
    before, after = (load_bundle(tmp_path / name)[0].state_dict() for name in ("initial", "model"))
    assert all(torch.equal(value, after[name]) for name, value in before.items() if name.startswith("estimator."))
    assert not torch.equal(before["stream.features.0.0.0.weight"], after["stream.features.0.0.0.weight"])


def test_a_checkpoint_is_loaded_with_and_without_the_unused_layer(tiny_data, stream: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    weights = {name: value.clone() for name, value in PWCNet().state_dict().items() if not name.startswith("deconv2.")}
    save_file(weights, tmp_path / "pwc.safetensors")
    place = {"checkpoint": str(tmp_path / "pwc.safetensors"), "sha256": sha256_of(tmp_path / "pwc.safetensors")}
    result = start(tiny_data, stream, tmp_path / "model", width=1.0, steps=0, **place)
    network, card = load_bundle(tmp_path / "model")
    assert isinstance(network, LearntFlow)
    assert all(torch.equal(value, network.estimator.state_dict()[name]) for name, value in weights.items())
    assert card.lineage["estimator"] == str(tmp_path / "pwc.safetensors")
    assert "end_point_error_px" not in result.metrics
    with pytest.raises(KineflowError, match="of another shape"):
        start(tiny_data, stream, tmp_path / "other", steps=0, **place)


def test_what_cannot_be(tiny_data, tiny_initial, stream: Path, tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match="a stream that sees rgb"):
        start(tiny_data, tiny_initial["rgb"], tmp_path / "model")
    with pytest.raises(KineflowError, match="steps must be above 0"):
        start(tiny_data, stream, tmp_path / "model", steps=0)
    with pytest.raises(KineflowError, match="checkpoint and sha256 go together"):
        start(tiny_data, stream, tmp_path / "model", checkpoint="pwc.pth")
    assert not (tmp_path / "model").exists()
