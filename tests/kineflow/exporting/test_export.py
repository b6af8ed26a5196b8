"""Exported networks answer as their bundles do, run by ONNX Runtime and by torch, without Kineflow's own code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kineflow.exporting import export as exporting
from kineflow.exporting.clip_classifier import ClipClassifier
from kineflow.exporting.export import export_model
from kineflow.exporting.onnx_file import write_onnx
from kineflow.exporting.torch_file import write_program
from kineflow.exporting.tracing import traced
from kineflow.models.bundle import load_bundle, weights_digest
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of
from tests.kineflow.models.test_contract import NETWORKS, different, small

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
TOLERANCE = 1e-4
FEWER_STAGES = {"last_stage": "Mixed4b"}  # further ones are of the same layers
SMALLER = {
    **dict.fromkeys(("s3d", "s3d_g", "learnt_flow"), FEWER_STAGES),
    "clip_descriptor": {"groups": "motion+flow+direction+appearance+change"},
}
BundleOf = Callable[..., Path]


def marked(quick: set[str]) -> list[Any]:
    """Every network; all but the quick ones take long, and have no operations that those lack."""
    return [pytest.param(name, marks=[] if name in quick else [pytest.mark.long]) for name in NETWORKS]


@pytest.mark.parametrize("name", marked({"s3d_g", "alstm", "clip_descriptor", "tsn"}))
def test_every_network_answers_alike_as_a_program(name: str, bundle_of: BundleOf, tmp_path: Path) -> None:
    network, classifier = classifier_of(name, bundle_of)
    write_program(traced(classifier), tmp_path / "model.pt2")
    loaded = torch.export.load(tmp_path / "model.pt2").module()
    for clips, wanted in asked(network, classifier):
        with torch.no_grad():
            logits, probabilities = loaded(clips)
        torch.testing.assert_close(logits, wanted, rtol=TOLERANCE, atol=TOLERANCE)
        torch.testing.assert_close(probabilities, wanted.softmax(1), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("name", marked({"s3d_g", "alstm"}))
def test_every_network_answers_alike_as_onnx(name: str, bundle_of: BundleOf, tmp_path: Path) -> None:
    network, classifier = classifier_of(name, bundle_of)
    write_onnx(traced(classifier), tmp_path / "model.onnx")
    for clips, wanted in asked(network, classifier):
        logits, probabilities = by_onnxruntime(tmp_path / "model.onnx", clips)
        np.testing.assert_allclose(logits, wanted, rtol=TOLERANCE, atol=TOLERANCE)
        np.testing.assert_allclose(probabilities, wanted.softmax(1), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize(("to", "file"), [("onnx", "model.onnx"), ("torch", "model.pt2")])
def test_what_lies_beside_it_says_how_to_use_it(to: str, file: str, bundle_of: BundleOf, tmp_path: Path) -> None:
    bundle = bundle_of("tsn", {"width": 0.125, "backbone": "vgg16"}, 3, frames=1, segments=3, channel_order="bgr")
    exported = export_model(bundle, tmp_path / "out", to)  # type: ignore[arg-type]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["export.json", file]
    told = json.loads((tmp_path / "out" / "export.json").read_text())
    assert told == json.loads(json.dumps(exported.description))
    assert told["bundle"]["weights_sha256"] == weights_digest(bundle)
    assert told["file"]["sha256"] == sha256_of(exported.file)
    assert (told["input"]["dtype"], told["input"]["shape"]) == ("uint8", ["batch", 1, 64, 64, 3])
    assert told["video_score"]["mean_of"] == "logits"
    assert told["classes"] == ["left", "right", "spin", "still", "zoom"]
    content = exported.file.read_bytes()
    assert str(ROOT).encode() not in content
    assert str(Path(torch.__file__).parent).encode() not in content
    export_model(bundle, tmp_path / "out", to)  # type: ignore[arg-type]  # in the place of the first


def test_differences_of_frames_go_in_as_they_are(bundle_of: BundleOf, tmp_path: Path) -> None:
    hyper = {"width": 0.125, "backbone": "vgg16"}
    bundle = bundle_of("tsn", hyper, 3, modality="rgb_difference", frames=1)
    exported = export_model(bundle, tmp_path / "out", "torch")
    assert exported.description["input"]["dtype"] == "int16"


class BySize(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3, 4)) if x.mean() > 0 else x.amax(dim=(2, 3, 4))


class OtherwiseExported(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3, 4)) + (1 if torch.compiler.is_exporting() else 0)


@pytest.mark.parametrize(
    ("network", "problem"), [(BySize(), "cannot be exported"), (OtherwiseExported(), "differ from its own by 1")]
)
def test_a_network_that_would_answer_otherwise_is_refused(
    network: nn.Module, problem: str, bundle_of: BundleOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundle_of("s3d", {"width": 0.125, "last_stage": "Mixed3b"}, 3)
    _, card = load_bundle(bundle)
    monkeypatch.setattr(exporting, "load_bundle", lambda _: (network, card))
    with pytest.raises(KineflowError, match=problem) as refused:
        export_model(bundle, tmp_path / "out", "torch")
    assert "student" in str(refused.value.where)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_things_is_left_alone(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(KineflowError, match=r"notes\.txt"):
        export_model(bundle, tmp_path, "torch")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_the_working_folder_is_not_replaced(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KineflowError, match="working folder"):
        export_model(bundle, Path(), "torch")


def classifier_of(name: str, bundle_of: BundleOf) -> tuple[nn.Module, ClipClassifier]:
    channels = different(name).channels[-1]
    of_descriptors = {"mean": (0.0,) * 3 + (127.5,) * 2, "std": (255.0,) * 3 + (127.5,) * 2}
    more = of_descriptors if name == "clip_descriptor" else {}
    network, card = load_bundle(bundle_of(name, small(name) | SMALLER.get(name, {}), channels, frames=2, **more))
    return network, ClipClassifier(network, card.preprocessing).requires_grad_(False).eval()


def asked(network: nn.Module, classifier: ClipClassifier) -> Iterator[tuple[Tensor, Tensor]]:
    """One clip and three, and the logits of the network itself, for clips that are normalised by hand."""
    wanted = classifier.preprocessing
    for count in (1, 3):
        generator = torch.Generator().manual_seed(7)
        shape = (count, wanted.frames, wanted.crop, wanted.crop, len(wanted.mean))
        clips = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        prepared = (clips.float() - torch.tensor(wanted.mean)) / torch.tensor(wanted.std)
        with torch.no_grad():
            logits: Tensor = network(prepared.permute(0, 4, 1, 2, 3))
        assert logits.std() > 0.1  # else any answer would be near enough
        yield clips, logits


def by_onnxruntime(file: Path, clips: Tensor) -> list[np.ndarray]:
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra 'export' is not installed")
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return list(session.run(["logits", "probabilities"], {"clips": clips.numpy()}))
