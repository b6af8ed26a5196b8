import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from components.register import register
from kineflow.models.bundle import save_bundle, weights_digest
from kineflow.models.card import ModelCard
from kineflow.models.registry import create_model
from kineflow.registry.outcomes import OUTCOMES_FILE
from kineflow.registry.registration_settings import RegistrationSettings
from kineflow.serving.served_files import check_served_files
from kineflow.serving.stored_files import find_version
from kineflow.spec.preprocessing import Preprocessing
from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of
from kineflow.tracking.runs import open_step_run
from kineflow.tracking.store import connect


@pytest.fixture
def model(tmp_path: Path) -> Path:
    with torch.random.fork_rng(devices=[]):
        network = create_model("s3d", num_classes=2, width=0.0625)
    wanted = Preprocessing("rgb", 8, 1, 64, 64, (128.0,) * 3, (64.0,) * 3)
    save_bundle(tmp_path / "student", network, ModelCard("student", "s3d", {"width": 0.0625}, ("a", "b"), wanted))
    return tmp_path / "student"


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    folder = tmp_path / "evaluation"
    folder.mkdir()
    content = {
        "student": {"top1": 0.75, "top5": 1.0},
        "data": {"split": "test", "clips": 8, "version": "d" * 64},
    }
    (folder / "metrics.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(autouse=True)
def _in_a_fresh_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_registers_once_and_says_so(model: Path, evaluation: Path, tmp_path: Path) -> None:
    params = RegistrationSettings(name="demo", min_gain=0.05, floors={"top1": 0.5}, tags={"recipe": "d3d"})
    written = tmp_path / "out" / "registration.json"
    with open_step_run("register", params={}, experiment="d3d") as run:
        result = register(model=model, evaluation=evaluation, params=params, tracker=run, registration=written)
    content = json.loads(written.read_text())
    assert content == {
        "name": "demo",
        "version": "1",
        "model_uri": "models:/demo/1",
        "created": True,
        "weights_sha256": weights_digest(model),
        "data_version": "d" * 64,
        "metrics": {"top1": 0.75, "top5": 1.0},
        "store": f"sqlite:///{tmp_path}/mlflow.db",
    }
    assert result.metrics == content["metrics"]
    assert result.tags == {
        "registered.model": "demo",
        "registered.version": "1",
        "registered.gate": "the gate holds:\n  first champion: top1 0.75",
    }
    assert "demo version 1 (new) is the candidate" in result.summary

    version = connect().get_model_version("demo", "1")
    assert version.run_id == run.run_id
    assert version.tags["recipe"] == "d3d"
    kept = json.loads(connect().get_registered_model("demo").tags["kineflow.policy"])
    assert (kept["min_gain"], kept["floors"], kept["test"]) == (0.05, {"top1": 0.5}, "better")

    params = params.model_copy(update={"floors": {"top1": 0.9}})
    again = register(model=model, evaluation=evaluation, params=params, registration=written)
    assert "version 1 (registered before)" in again.summary
    assert json.loads(written.read_text())["created"] is False
    kept = json.loads(connect().get_registered_model("demo").tags["kineflow.policy"])
    assert kept["floors"] == {"top1": 0.9}, "the policy is that of the last run, not of a version's first registration"


@pytest.mark.slow
def test_an_export_lies_beside_the_bundle_and_is_run_by_onnx_runtime(evaluation: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra 'export' is not installed")
    hyper: dict[str, Any] = {"width": 0.0625, "last_stage": "Mixed3b"}
    network = create_model("s3d", num_classes=2, **hyper).eval()
    wanted = Preprocessing("rgb", 4, 1, 32, 32, (128.0,) * 3, (64.0,) * 3)
    model = tmp_path / "student"
    save_bundle(model, network, ModelCard("student", "s3d", hyper, ("a", "b"), wanted))
    params = RegistrationSettings(name="demo", export=("onnx",))
    written = tmp_path / "registration.json"
    register(model=model, evaluation=evaluation, params=params, registration=written)
    version = connect().get_model_version("demo", "1")
    (file,) = tmp_path.glob("mlartifacts/**/export/onnx/model.onnx")
    assert (file.parent / "export.json").is_file()
    assert version.tags["export.onnx.sha256"] == sha256_of(file)
    clips = torch.randint(0, 256, (2, 4, 32, 32, 3), dtype=torch.uint8)
    (logits,) = onnxruntime.InferenceSession(str(file)).run(["logits"], {"clips": clips.numpy()})
    with torch.no_grad():
        own = network((clips.permute(0, 4, 1, 2, 3).float() - 128) / 64)
    torch.testing.assert_close(torch.from_numpy(logits), own, rtol=1e-4, atol=1e-4)
    stored = file.stat().st_mtime_ns
    register(model=model, evaluation=evaluation, params=params, registration=written)
    assert file.stat().st_mtime_ns == stored, "a version that has the form keeps what it has"

    registered = find_version("models:/demo/1")
    check_served_files(registered, beside=(OUTCOMES_FILE,))  # as a promotion does
    file.write_bytes(file.read_bytes() + b"more")
    with pytest.raises(KineflowError, match=r"export/onnx/model.onnx is another"):
        check_served_files(registered, beside=(OUTCOMES_FILE,))


@pytest.mark.slow
def test_nothing_is_registered_when_the_export_fails(
    model: Path, evaluation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    params = RegistrationSettings(name="demo", export=("onnx",))
    with pytest.raises(KineflowError, match=r"onnxruntime(.|\n)*extra 'export'"):
        register(model=model, evaluation=evaluation, params=params, registration=tmp_path / "registration.json")
    assert not (tmp_path / "mlflow.db").exists()


def test_a_model_that_was_not_evaluated_is_refused_and_nothing_is_written(
    model: Path, evaluation: Path, tmp_path: Path
) -> None:
    (evaluation / "metrics.json").write_text('{"plain": {"top1": 1}, "data": {"version": "d", "clips": 1}}')
    written = tmp_path / "registration.json"
    with pytest.raises(KineflowError, match="'student' was not evaluated; there are 'plain'"):
        register(model=model, evaluation=evaluation, params=RegistrationSettings(name="demo"), registration=written)
    assert not written.exists()
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({}, "name: required"),
        ({"name": "a/b"}, "name: "),
        ({"name": "demo", "min_gain": -0.1}, "min_gain: input should be greater than or equal to 0"),
        ({"name": "demo", "floors": {"top1": 2}}, "floors.top1: "),
        ({"name": "demo", "floor": {}}, "floor: unknown key"),
    ],
)
def test_impossible_parameters_are_named(values: dict[str, object], fault: str) -> None:
    with pytest.raises(KineflowError, match=fault):
        parse_params(RegistrationSettings, values, where="registration")


def test_importing_the_step_is_cheap() -> None:
    module = inspect.getsource(inspect.getmodule(register) or register)
    before_the_function = module.split("def register")[0]
    assert "mlflow" not in before_the_function
    assert "kineflow.registry.registration import" not in before_the_function
