"""The probe_motion step on tiny data and networks: files, figures, and mistakes found before any training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from components.frontend.contract import StepResult
from components.frontend.run import execute
from components.probe_motion import probe_motion
from kineflow.evaluation import probing
from kineflow.evaluation.probe_results import load_errors
from kineflow.models.bundle import save_bundle
from kineflow.models.card import ModelCard
from kineflow.models.registry import create_model
from kineflow.sets.clip_set import ClipSet
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError

pytestmark = pytest.mark.slow

PARAMS = {
    "stages": ["Conv2c", "Mixed3b"], "decoders": ["simple", "spatial"], "learn_from": ["train", "unlabelled"],
    "split": "val", "steps": 3, "batch_size": 2, "student": "student", "baseline": "plain",
}  # fmt: skip
NETWORKS = ("student", "teacher", "plain", "untrained-rgb", "untrained-flow")


@pytest.fixture(autouse=True)
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("KINEFLOW_RUN_ID", "DVC_STAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)


def bundle(folder: Path, name: str, *, modality: Any = "rgb", frames: int = 4, model: str = "s3d") -> Path:
    torch.manual_seed(sum(map(ord, name)))
    channels, hyper = (3 if modality == "rgb" else 2), {"width": 0.125, "last_stage": "Mixed3c"}
    if model == "tsn":
        hyper = {"width": 0.125, "backbone": "resnet50"}
    network = create_model(model, num_classes=2, in_channels=channels, **hyper)
    preprocessing = Preprocessing(modality, frames, 1, 16, 16, mean=(128.0,) * channels, std=(64.0,) * channels)
    save_bundle(folder / name, network, ModelCard(name, model, hyper, ("dark", "light"), preprocessing))
    return folder / name


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    return {
        "student": bundle(folder, "student"),
        "teacher": bundle(folder, "teacher", modality="flow"),
        "plain": bundle(folder, "plain"),
    }


def run(data: Any, bundles: dict[str, Path], out: Path, *, seed: int = 1, **changes: Any) -> StepResult:
    places = {"clips": data.clips, "flow": data.flow, "models": list(bundles.values())}
    written = {"probes": out / "probes", "report": out / "report.html"}
    return execute(probe_motion, {**places, **written, "params": {**PARAMS, **changes}, "seed": seed})


@pytest.fixture(scope="module")
def done(tiny_data: Any, bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StepResult]:
    out = tmp_path_factory.mktemp("done")
    return out, run(tiny_data, bundles, out)


def test_every_network_stage_and_decoder_is_measured_on_the_split(done: tuple[Path, StepResult], tiny_data) -> None:
    out, result = done
    assert sorted(path.name for path in out.iterdir()) == ["probes", "report.html"]
    metrics = json.loads((out / "probes" / "metrics.json").read_text())
    assert metrics.keys() == {*NETWORKS, "data"}
    assert metrics["data"]["split"] == "val"
    assert metrics["data"]["bound_px"] == 20.0
    clips = tuple(clip.clip_id for clip in ClipSet.load(tiny_data.clips).usable(Split.VAL))
    for name in NETWORKS:
        ids, errors = load_errors(out / "probes" / "errors" / f"{name}.parquet")
        assert ids == clips
        assert list(errors) == [(s, d) for s in ("Conv2c", "Mixed3b") for d in ("simple", "spatial")]
        for (stage, decoder), measured in errors.items():
            figures = metrics[name][stage][decoder]
            assert figures["error"] == pytest.approx(measured.decoded.mean())
            assert figures["error"] == result.metrics[f"{name}/{stage}/{decoder}"]
            assert figures["error"] != figures["still"]  # something was learnt
            assert (figures["gain_over_untrained"] is None) == name.startswith("untrained")
            assert (figures["gain_over_baseline"] is None) == (name not in ("student", "teacher"))
    assert "student" in (out / "report.html").read_text()


def test_each_network_is_compared_with_the_untrained_one_of_its_kind(done: tuple[Path, StepResult]) -> None:
    metrics = json.loads((done[0] / "probes" / "metrics.json").read_text())
    for name, twin in (("student", "untrained-rgb"), ("plain", "untrained-rgb"), ("teacher", "untrained-flow")):
        mine, theirs = (metrics[each]["Conv2c"]["simple"] for each in (name, twin))
        assert mine["gain_over_untrained"] == pytest.approx(theirs["error"] - mine["error"])


def test_the_same_seed_gives_the_same_files_and_another_one_others(
    tiny_data, bundles: dict[str, Path], done: tuple[Path, StepResult], tmp_path: Path
) -> None:
    again, other = (run(tiny_data, bundles, tmp_path / str(seed), seed=seed) for seed in (1, 2))
    assert again.metrics == done[1].metrics
    for path in (done[0] / "probes").rglob("*.*"):
        assert (tmp_path / "1" / "probes" / path.relative_to(done[0] / "probes")).read_bytes() == path.read_bytes()
    assert other.metrics != done[1].metrics


def test_a_network_s_figures_do_not_depend_on_the_others(
    tiny_data, bundles: dict[str, Path], done: tuple[Path, StepResult], tmp_path: Path
) -> None:
    alone = run(tiny_data, {"plain": bundles["plain"]}, tmp_path, student="plain", baseline=None, stages=["Mixed3b"])
    for name, value in alone.metrics.items():
        assert value == pytest.approx(done[1].metrics[name])


def test_an_interrupted_run_goes_on_with_the_next_network(
    tiny_data, bundles: dict[str, Path], done: tuple[Path, StepResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, probed = probing._probe, []

    def stops_at_the_third(candidate: Any, *rest: Any) -> Any:
        probed.append(candidate.card.name)
        if len(probed) == 3:
            raise KeyboardInterrupt
        return whole(candidate, *rest)

    monkeypatch.setattr(probing, "_probe", stops_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run(tiny_data, bundles, tmp_path)
    assert not (tmp_path / "probes").exists()
    assert not (tmp_path / "report.html").exists()
    result = run(tiny_data, bundles, tmp_path)
    assert probed == ["student", "teacher", "plain", "plain", "untrained-rgb", "untrained-flow"]
    assert result.metrics == done[1].metrics
    assert sorted(path.name for path in tmp_path.iterdir()) == ["probes", "report.html"]


def test_untrained_networks_pass_a_signal_on(tiny_data, bundles: dict[str, Path]) -> None:
    """Without statistics of their own, normalisations would let it fade."""
    torch.manual_seed(0)
    network = create_model("s3d_g", num_classes=0, width=0.125)
    clips = [torch.randn(4, 3, 4, 32, 32) for _ in range(3)]
    probing._settle_norms(network, clips)
    assert not network.training
    norm = network.get_submodule("features.0.0.1")
    seen = torch.cat([network.get_submodule("features.0.0.0")(batch) for batch in clips])
    torch.testing.assert_close(norm.running_mean, seen.mean(dim=(0, 2, 3, 4)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"student": "studnet"}, "unknown model 'studnet'"),
        ({"baseline": "rgb"}, "unknown model 'rgb'"),
        ({"stages": ["Mixed4b"]}, "model 'student': the network has no stage 'Mixed4b'"),
        ({"split": "test"}, "no usable clip in split 'test'"),
    ],
)
def test_mistakes_are_found_before_any_training(
    tiny_data, bundles: dict[str, Path], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(KineflowError, match=message):
        run(tiny_data, bundles, tmp_path, **changes)
    assert not (tmp_path / "probes").exists()


def test_networks_without_stages_or_of_another_geometry_are_refused(
    tiny_data, bundles: dict[str, Path], tmp_path: Path
) -> None:
    snippets = {**bundles, "plain": bundle(tmp_path, "plain", model="tsn")}
    with pytest.raises(KineflowError, match="model 'plain': TSN has no named stages"):
        run(tiny_data, snippets, tmp_path / "out")
    shorter = {**bundles, "plain": bundle(tmp_path / "short", "plain", frames=3)}
    with pytest.raises(KineflowError, match="frames is 4 for 'student' and 3 for 'plain'"):
        run(tiny_data, shorter, tmp_path / "out")


def test_two_kinds_of_one_modality_have_untrained_twins_of_their_own(bundles: dict[str, Path]) -> None:
    def model(name: str, width: float) -> tuple[torch.nn.Module, ModelCard]:
        hyper = {"width": width, "last_stage": "Mixed3c"}
        preprocessing = Preprocessing("rgb", 4, 1, 16, 16, mean=(128.0,) * 3, std=(64.0,) * 3)
        return create_model("s3d", num_classes=2, **hyper), ModelCard(name, "s3d", hyper, ("a", "b"), preprocessing)

    models = [model("a", 0.125), model("b", 0.25), model("c", 0.125)]
    settings = probing.ProbeSettings(stages=("Conv1a",))
    found = {each.card.name: each for each in probing._candidates(models, settings, seed=0)}
    assert list(found) == ["a", "b", "c", "untrained-rgb", "untrained-rgb-2"]
    assert [found[name].untrained for name in ("a", "b", "c")] == ["untrained-rgb", "untrained-rgb-2", "untrained-rgb"]
    assert found["untrained-rgb-2"].card.hyperparameters["width"] == 0.25
    renamed = [(network, dataclasses.replace(card, name="untrained-rgb")) for network, card in models[:1]]
    with pytest.raises(KineflowError, match="several models are named 'untrained-rgb'"):
        probing._candidates(renamed, settings, seed=0)
