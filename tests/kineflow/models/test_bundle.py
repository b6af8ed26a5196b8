from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from kineflow.models.bundle import load_bundle, save_bundle, weights_digest
from kineflow.models.card import ModelCard, load_card
from kineflow.models.network import VideoNetwork
from kineflow.models.registry import create_backbone, create_model
from kineflow.spec.preprocessing import Preprocessing
from kineflow.storage.errors import KineflowError

RGB = Preprocessing("rgb", 12, 1, 72, 64, mean=(114.75, 110.0, 100.5), std=(57.0, 58.0, 59.0))
CARD = ModelCard(
    name="student",
    architecture="s3d_g",
    hyperparameters={"width": 0.125, "stem_temporal_stride": 1, "dropout": 0.5},
    classes=("clap", "saut à la corde", "wave"),
    preprocessing=RGB,
    lineage={"commit": "abc"},
    metrics={"val/top1": 0.75},
)


def network_of(card: ModelCard, seed: int = 0) -> VideoNetwork:
    torch.manual_seed(seed)
    return create_model(
        card.architecture,
        num_classes=len(card.classes),
        in_channels=len(card.preprocessing.mean),
        **card.hyperparameters,
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "model"
    save_bundle(folder, network_of(CARD), CARD)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def edit_card(folder: Path, **changes: Any) -> None:
    path = folder / "model.json"
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}), encoding="utf-8")


def test_a_card_of_an_earlier_release(folder: Path) -> None:
    edit_card(folder, hyperparameters={**CARD.hyperparameters, "norm_momentum": 0.5})
    network, card = load_bundle(folder)
    assert card.hyperparameters["bn_momentum"] == 0.5
    assert {m.momentum for m in network.modules() if isinstance(m, torch.nn.BatchNorm3d)} == {0.5}


def test_a_model_comes_back_as_it_was(folder: Path) -> None:
    original = network_of(CARD).eval()
    network, card = load_bundle(folder)
    assert card == CARD
    assert not network.training
    assert all(type(value) is type(CARD.hyperparameters[key]) for key, value in card.hyperparameters.items())
    x = torch.randn(1, 3, 12, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(network(x), original(x), rtol=0, atol=0)
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_two_files_and_the_same_bytes_every_time(folder: Path, tmp_path: Path) -> None:
    save_bundle(tmp_path / "again", network_of(CARD), CARD)
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.safetensors"]
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_initial_weights_have_no_classes_and_no_classifier(tmp_path: Path) -> None:
    card = dataclasses.replace(CARD, classes=())
    save_bundle(tmp_path / "initial", network_of(card), card)
    network, loaded = load_bundle(tmp_path / "initial")
    assert loaded.classes == ()
    assert network.num_classes == 0
    assert not [name for name in load_file(tmp_path / "initial" / "model.safetensors") if "classifier" in name]


def test_loading_leaves_the_generator_alone(folder: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_bundle(folder)
    assert torch.equal(torch.rand(3), expected)


def test_the_card_is_read_without_torch(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from kineflow.models.bundle import load_card, weights_digest;"
        "folder = Path(sys.argv[1]); print(load_card(folder).name, len(weights_digest(folder)));"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["student", "64"]


def test_a_card_that_describes_another_network_is_not_saved(tmp_path: Path) -> None:
    for wrong in (
        dataclasses.replace(CARD, classes=("one",)),
        dataclasses.replace(CARD, hyperparameters={"width": 0.25}),
        dataclasses.replace(CARD, preprocessing=dataclasses.replace(RGB, mean=(1.0, 1.0), std=(1.0, 1.0))),
    ):
        with pytest.raises(KineflowError, match="of another shape"):
            save_bundle(tmp_path / "model", network_of(CARD), wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_the_old_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = weights_digest(folder)

    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="no space"):
        save_bundle(folder, network_of(CARD, seed=1), CARD)
    assert weights_digest(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"colour": 1}, "colour"),
        ({"name": ...}, "name"),
        ({"format": 2}, "format 1"),
        ({"format": ...}, "format 1"),
        ({"classes": "clap"}, "classes"),
        ({"classes": ["clap", "clap", "wave"]}, "'clap' is listed twice"),
        ({"metrics": {"val/top1": "0.7"}}, "metrics.val/top1"),
        ({"hyperparameters": {"width": [1]}}, "hyperparameters.width"),
        ({"preprocessing": dataclasses.asdict(RGB) | {"colour": 3}}, "preprocessing.colour"),
        ({"preprocessing": dataclasses.asdict(RGB) | {"modality": "sound"}}, "preprocessing.modality"),
        ({"preprocessing": dataclasses.asdict(RGB) | {"frames": "12"}}, "preprocessing.frames"),
        ({"preprocessing": dataclasses.asdict(RGB) | {"crop": 100}}, "crop 100"),
        ({"preprocessing": dataclasses.asdict(RGB) | {"channel_order": "brg"}}, "preprocessing.channel_order"),
    ],
)
def test_a_card_with_a_fault_is_refused_by_name(folder: Path, changes: dict[str, Any], named: str) -> None:
    edit_card(folder, **changes)
    with pytest.raises(KineflowError) as caught:
        load_card(folder)
    assert named in str(caught.value)
    assert "model.json" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"architecture": "resnet"}, "no network is called 'resnet'"),
        ({"hyperparameters": {"widht": 1}}, "'widht'"),
        ({"hyperparameters": {"width": "wide"}}, "'width': 'wide'"),
        ({"hyperparameters": {"width": -1.0}}, "width"),
        ({"hyperparameters": {"width": 16.0}}, "of another shape"),
        ({"hyperparameters": {"num_classes": 3}}, "num_classes"),
        ({"classes": ["clap"]}, "classifier.1.weight [3, 128, 1, 1, 1] instead of [1, 128, 1, 1, 1]"),
        ({"architecture": "s3d"}, "unexpected (37)"),
    ],
)
def test_a_card_that_does_not_fit_the_weights_is_refused(folder: Path, changes: dict[str, Any], named: str) -> None:
    edit_card(folder, **changes)
    with pytest.raises(KineflowError) as caught:
        load_bundle(folder)
    assert named in str(caught.value)


def test_missing_and_unexpected_tensors_are_named(folder: Path) -> None:
    weights = folder / "model.safetensors"
    state = load_file(weights)
    state["extra"] = state.pop("classifier.1.bias")
    save_file(state, weights)
    with pytest.raises(KineflowError, match=r"missing \(1\): classifier.1.bias\n.*unexpected \(1\): extra"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(KineflowError, match=f"{name} is missing"):
        load_bundle(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_a_broken_card_is_refused(folder: Path, content: bytes) -> None:
    (folder / "model.json").write_bytes(content)
    with pytest.raises(KineflowError, match=r"model\.json"):
        load_card(folder)


def test_an_absurdly_large_card_is_not_read(folder: Path) -> None:
    (folder / "model.json").write_bytes(b" " * (1 << 20) + b"{}")
    with pytest.raises(KineflowError, match="larger than"):
        load_card(folder)


@pytest.mark.parametrize("keep", [0, 4, 1000, -1])
def test_broken_weights_are_refused(folder: Path, keep: int) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    for read in (load_bundle, weights_digest):
        with pytest.raises(KineflowError, match="damaged"):
            read(folder)


def test_pickles_are_not_read(folder: Path) -> None:
    torch.save({"a": torch.ones(1)}, folder / "model.safetensors")
    with pytest.raises(KineflowError, match="damaged"):
        load_bundle(folder)


def test_the_digest_is_of_the_tensors_alone(folder: Path) -> None:
    digest = weights_digest(folder)
    weights = folder / "model.safetensors"
    state = load_file(weights)
    save_file(dict(reversed(state.items())), weights, metadata={"note": "other bytes, same tensors"})
    edit_card(folder, name="other")
    assert weights_digest(folder) == digest


@pytest.mark.parametrize("what", ["name", "dtype", "shape", "value"])
def test_the_digest_sees_every_part_of_a_tensor(tmp_path: Path, what: str) -> None:
    plain = {"a": torch.zeros(2, 3), "b": torch.ones(2)}
    changed = {
        "name": {"c": plain["a"], "b": plain["b"]},
        "dtype": {"a": torch.zeros(2, 3, dtype=torch.int32), "b": plain["b"]},
        "shape": {"a": torch.zeros(3, 2), "b": plain["b"]},
        "value": {"a": plain["a"], "b": torch.tensor([1.0, 2.0])},
    }[what]
    digests = []
    for name, state in (("plain", plain), ("changed", changed)):
        (tmp_path / name).mkdir()
        save_file(state, tmp_path / name / "model.safetensors")
        digests.append(weights_digest(tmp_path / name))
    assert digests[0] != digests[1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"frames": 0}, {"stride_frames": 0}, {"crop": 0}, {"crop": 73}, {"mean": ()}, {"mean": (1.0,)},
        {"mean": (float("nan"), 0.0, 0.0)}, {"std": (0.0, 1.0, 1.0)}, {"std": (1.0, 1.0, float("inf"))},
    ],
)  # fmt: skip
def test_impossible_preprocessing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(KineflowError):
        dataclasses.replace(RGB, **wrong)


def test_metrics_that_are_no_figures_are_refused() -> None:
    with pytest.raises(KineflowError, match="val/top1"):
        dataclasses.replace(CARD, metrics={"val/top1": float("nan")})


def test_a_backbone_alone_is_no_model(tmp_path: Path) -> None:
    """Networks for images are kept inside of networks for clips."""
    card = dataclasses.replace(CARD, architecture="bn_inception")
    with pytest.raises(KineflowError, match="for images and not for clips"):
        save_bundle(tmp_path / "model", create_backbone("bn_inception", width=0.125), card)


def test_the_channel_order_is_part_of_the_card(tmp_path: Path) -> None:
    caffe = dataclasses.replace(CARD, preprocessing=dataclasses.replace(RGB, channel_order="bgr"))
    save_bundle(tmp_path / "model", network_of(caffe), caffe)
    stored = json.loads((tmp_path / "model" / "model.json").read_text(encoding="utf-8"))
    assert stored["preprocessing"]["channel_order"] == "bgr"
    assert load_card(tmp_path / "model").preprocessing.channel_order == "bgr"


def test_a_card_from_before_channel_orders_is_of_rgb(folder: Path) -> None:
    older = dataclasses.asdict(RGB)
    del older["channel_order"]
    edit_card(folder, preprocessing=older)
    assert load_card(folder) == CARD
    assert load_card(folder).preprocessing.channel_order == "rgb"


def test_only_three_channels_of_colour_have_an_order() -> None:
    for other in ({"modality": "flow", "mean": (0.0,) * 2, "std": (1.0,) * 2}, {"mean": (0.0,) * 4, "std": (1.0,) * 4}):
        with pytest.raises(KineflowError, match="no order bgr"):
            dataclasses.replace(RGB, channel_order="bgr", **other)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"classes": [str(number) for number in range(10_001)]}, "10001 classes; at most 10000"),
        ({"hyperparameters": {"width": 1e30}}, "hyper-parameter width is 1e+30"),
        ({"hyperparameters": {"layers": 10**17}}, "hyper-parameter layers"),
        ({"hyperparameters": {"width": 10**400}}, "an integer of 401 digits"),
        ({"name": "x" * 300}, "a model cannot be called"),
        ({"name": "a\nb"}, "a model cannot be called"),
        ({"preprocessing": dataclasses.asdict(RGB) | {"frames": 10**9}}, "frames is 1000000000"),
        ({"preprocessing": dataclasses.asdict(RGB) | {"stride_frames": 10**9}}, "stride_frames is"),
        ({"preprocessing": dataclasses.asdict(RGB) | {"segments": 10**9}}, "segments is"),
        ({"preprocessing": dataclasses.asdict(RGB) | {"short_side": 5000}}, "short_side is 5000"),
        ({"preprocessing": dataclasses.asdict(RGB) | {"mean": [0.0] * 1025, "std": [1.0] * 1025}}, "channels is 1025"),
        ({"preprocessing": dataclasses.asdict(RGB) | {"frames": 4096, "short_side": 4096, "crop": 4096}}, "values"),
        ({"preprocessing": dataclasses.asdict(RGB) | {"std": [1e-300] * 3}}, "cannot divide"),
        ({"flow": {"short_side": 10**6}}, "short side of 1000000 px"),
        ({"flow": {"bound_px": 1e300}}, "bounded by 1e+300 px"),
        ({"flow": {"tvl1": {"warps": 100, "inner_iterations": 1000, "scales": 5}}}, "5000000 iterations"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_every_figure_of_a_card_has_a_bound(folder: Path, changes: dict[str, Any], named: str) -> None:
    edit_card(folder, **changes)
    with pytest.raises(KineflowError) as caught:
        load_card(folder)
    assert named in str(caught.value)
    assert str(folder / "model.json") in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_no_numbers_are_refused_by_name(folder: Path, value: float) -> None:
    state = load_file(folder / "model.safetensors")
    name = max(name for name, tensor in state.items() if tensor.is_floating_point())
    state[name].view(-1)[-1] = value
    save_file(state, folder / "model.safetensors")
    with pytest.raises(KineflowError, match=rf"not a number \(1 tensors\): {re.escape(name)}") as caught:
        load_bundle(folder)
    assert caught.value.where == str(folder / "model.safetensors")


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff" * 8, (2**40).to_bytes(8, "little") + b"{}", b"\2\0\0\0\0\0\0\0{}", b"\3\0\0\0\0\0\0\0{]}",
     b"\x40\0\0\0\0\0\0\0" + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,99999999]}}'.ljust(64)],
)  # fmt: skip
def test_a_header_that_promises_what_is_not_there(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(KineflowError):
        load_bundle(folder)
