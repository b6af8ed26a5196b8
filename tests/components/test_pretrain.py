from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from components.pretrain import pretrain
from kineflow.models import normalisation, weights_table
from kineflow.models.bundle import WEIGHTS_FILE, load_bundle, weights_digest
from kineflow.models.card import load_card
from kineflow.models.named_weights import MIRROR
from kineflow.models.normalisation import KINETICS
from kineflow.models.pretrain_settings import PretrainSettings
from kineflow.models.registry import create_model
from kineflow.models.s3d_tensorflow import released_names
from kineflow.models.weights import weights_sha256
from kineflow.models.weights_table import weights_named
from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of
from tests.tensorflow_checkpoint import write_checkpoint

SAID = {"rgb_mean": (110.2, 100.6, 96.0), "rgb_std": (58.1, 56.5, 55.3)}
SMALL = {"width": 0.125, "stem_temporal_stride": 1, "bn_momentum": 0.1}


class Listener:
    def __init__(self) -> None:
        self.tags: dict[str, str] = {}

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None: ...

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self.tags |= tags


def run(folder: Path, *, seed: int = 0, **params: Any) -> tuple[Path, Path]:
    pretrain(params=PretrainSettings(**SMALL | params), seed=seed, rgb=folder / "rgb", flow=folder / "flow")
    return folder / "rgb", folder / "flow"


def checkpoint(path: Path, name: str, **keywords: Any) -> dict[str, Any]:
    torch.manual_seed(9)
    network = create_model(name, num_classes=400, **{**SMALL, **keywords})
    torch.save(network.state_dict(), path)
    return {"checkpoint": str(path), "sha256": sha256_of(path)}


def test_weights_go_by_a_name_and_bring_their_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = weights_named("s3d-kinetics400")
    file = checkpoint(tmp_path / row.file, "s3d")
    monkeypatch.setitem(weights_table._BY_NAME, row.name, replace(row, sha256=file["sha256"][:8]))
    monkeypatch.setenv(MIRROR, str(tmp_path))
    rgb, _ = run(tmp_path, checkpoint=row.name)
    card = load_card(rgb)
    assert (card.lineage["checkpoint"], card.lineage["checkpoint_sha256"]) == (row.name, file["sha256"])
    assert (card.preprocessing.mean, card.preprocessing.std) == (KINETICS.mean, KINETICS.std)
    with pytest.raises(KineflowError, match="sha256 is"):
        run(tmp_path, checkpoint=row.name, sha256="0" * 64)
    rgb, _ = run(tmp_path, checkpoint=row.name, rgb_mean=(1, 2, 3))
    assert load_card(rgb).preprocessing.mean == (1, 2, 3)


def test_both_bundles_are_headless_networks_for_their_modality(tmp_path: Path) -> None:
    for folder, modality, channels in zip(run(tmp_path), ("rgb", "flow"), (3, 2), strict=True):
        network, card = load_bundle(folder)
        assert card.preprocessing.modality == modality
        assert len(card.preprocessing.mean) == channels == network.stem.in_channels
        assert card.classes == ()
        assert card.architecture == "s3d_g"
        assert card.hyperparameters["width"] == 0.125
        network.reset_classifier(4)
        assert network(torch.zeros(2, channels, 12, 64, 64)).shape == (2, 4)


def test_the_seed_decides_every_weight(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = [weights_digest(folder) for folder in run(tmp_path / "first", seed=3)]
    torch.manual_seed(2)
    again = [weights_digest(folder) for folder in run(tmp_path / "again", seed=3)]
    other = [weights_digest(folder) for folder in run(tmp_path / "other", seed=4)]
    assert first == again
    assert not set(first) & set(other)


@pytest.mark.slow
def test_flow_follows_the_cross_modality_rule(tmp_path: Path) -> None:
    published = checkpoint(tmp_path / "s3d.pth", "s3d")
    rgb, flow = (load_bundle(folder)[0] for folder in run(tmp_path, **published, **SAID))
    stem = f"{rgb.stem_name}.weight"
    for key, value in flow.state_dict().items():
        source = rgb.state_dict()[key]
        torch.testing.assert_close(value, source.mean(dim=1, keepdim=True).expand_as(value) if key == stem else source)
    assert "cross_modality" in load_card(tmp_path / "flow").lineage


@pytest.mark.parametrize("flow_from_rgb", [True, False])
def test_flow_from_scratch_has_weights_of_its_own(tmp_path: Path, flow_from_rgb: bool) -> None:
    """With the rule too: an average of random kernels is no start for anything."""
    rgb, flow = (load_bundle(folder)[0].state_dict() for folder in run(tmp_path, flow_from_rgb=flow_from_rgb))
    assert not torch.equal(rgb["features.2.0.weight"], flow["features.2.0.weight"])
    assert load_card(tmp_path / "flow").lineage == {"initialised": "from scratch", "seed": "1"}


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["s3d", "s3d_g"])
def test_a_published_checkpoint_is_where_rgb_starts(tmp_path: Path, architecture: str) -> None:
    published = checkpoint(tmp_path / "s3d.pth", "s3d")
    listener = Listener()
    result = pretrain(
        params=PretrainSettings(**SMALL, **published, **SAID, architecture=architecture),
        tracker=listener,
        rgb=tmp_path / "rgb",
        flow=tmp_path / "flow",
    )
    stored = torch.load(tmp_path / "s3d.pth", weights_only=True)
    network, card = load_bundle(tmp_path / "rgb")
    assert torch.equal(network.state_dict()["features.0.0.0.weight"], stored["features.0.0.0.weight"])
    assert card.lineage["checkpoint_sha256"] == published["sha256"]
    assert "400 classes" in result.summary
    assert listener.tags["checkpoint"] == str(tmp_path / "s3d.pth")
    assert result.metrics["parameters"] == sum(parameter.numel() for parameter in network.parameters())


def test_a_checkpoint_that_does_not_fit_leaves_no_output(tmp_path: Path) -> None:
    published = checkpoint(tmp_path / "wide.pth", "s3d", width=0.25)
    with pytest.raises(KineflowError, match="same width"):
        run(tmp_path / "out", **published, **SAID)
    with pytest.raises(KineflowError, match="sha256 is"):
        run(tmp_path / "out", checkpoint=published["checkpoint"], sha256="0" * 64, **SAID)
    assert not (tmp_path / "out").exists()


def test_the_input_of_an_unknown_checkpoint_must_be_told(tmp_path: Path) -> None:
    published = checkpoint(tmp_path / "mine.pth", "s3d")
    for part in ({}, {"rgb_mean": (1, 2, 3)}):
        with pytest.raises(KineflowError, match=r"nothing is known of the input that .*mine\.pth takes"):
            run(tmp_path / "out", **published, **part)
    assert not (tmp_path / "out").exists()
    takes = load_card(run(tmp_path, **published, **SAID, channel_order="bgr")[0]).preprocessing
    assert (takes.mean, takes.std, takes.channel_order) == (SAID["rgb_mean"], SAID["rgb_std"], "bgr")


def test_a_published_file_is_known_by_its_bytes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = checkpoint(tmp_path / "renamed.pth", "s3d")
    table = {f"s3d-{published['sha256'][:8]}": KINETICS}
    monkeypatch.setattr(normalisation, "_BY_CHECKPOINT", table)
    assert load_card(run(tmp_path, **published)[0]).preprocessing.mean == KINETICS.mean


@pytest.mark.parametrize("within", ["", WEIGHTS_FILE])
def test_a_model_of_ones_own_keeps_its_input_and_another_is_named(tmp_path: Path, within: str) -> None:
    own, _ = run(tmp_path / "own", rgb_mean=(1, 2, 3), rgb_std=(4, 5, 6), channel_order="bgr")
    given = {"checkpoint": str(own / within), "sha256": sha256_of(own / WEIGHTS_FILE)}
    takes = load_card(run(tmp_path / "same", **given)[0]).preprocessing
    assert (takes.mean, takes.std, takes.channel_order) == ((1, 2, 3), (4, 5, 6), "bgr")
    other = pretrain(
        params=PretrainSettings(**SMALL, **given, rgb_mean=(9, 9, 9)), rgb=tmp_path / "rgb", flow=tmp_path / "flow"
    )
    assert "by mean 9, 9, 9, std 4, 5, 6, bgr, and these weights take mean 1, 2, 3, " in other.summary


def test_the_flow_stream_may_have_a_checkpoint_of_its_own(tmp_path: Path) -> None:
    own_rgb, own = run(tmp_path / "own", flow_mean=128.0, flow_std=20.0)
    given = {"flow_checkpoint": str(own), "flow_sha256": sha256_of(own / WEIGHTS_FILE)}
    rgb = {**checkpoint(tmp_path / "s3d.pth", "s3d"), **SAID}
    _, flow = run(tmp_path, **rgb, **given)
    card = load_card(flow)
    assert weights_digest(flow) == weights_digest(own)
    assert (card.preprocessing.mean, card.preprocessing.std) == ((128.0, 128.0), (20.0, 20.0))
    assert card.lineage["checkpoint_sha256"] == given["flow_sha256"]
    assert load_card(run(tmp_path, **given, flow_mean=100.0)[1]).preprocessing.mean == (100.0, 100.0)
    with pytest.raises(KineflowError, match="takes rgb, not flow"):
        run(tmp_path, flow_checkpoint=str(own_rgb), flow_sha256=sha256_of(own_rgb / WEIGHTS_FILE))
    file = checkpoint(tmp_path / "flow.pth", "s3d_g", in_channels=2)
    given = {f"flow_{key}": value for key, value in file.items()}
    with pytest.raises(KineflowError, match=r"flow\.pth takes"):
        run(tmp_path, **given)
    assert load_card(run(tmp_path, **given, flow_mean=127.5, flow_std=64.0)[1]).preprocessing.std == (64.0, 64.0)


def test_the_release_of_d3d_loads_into_its_layout(tmp_path: Path) -> None:
    small = {"width": 0.125, "bn_momentum": 0.1, "architecture": "s3d_g_tensorflow"}
    state = create_model("s3d_g_tensorflow", num_classes=400, width=0.125).state_dict()
    variables = {
        released: (tensor.permute(2, 3, 4, 1, 0) if tensor.ndim == 5 else tensor).contiguous().numpy()
        for name, released in released_names()
        if (tensor := state[name]) is not None
    }
    index = write_checkpoint(tmp_path / "model.ckpt", variables)
    given = {"checkpoint": str(index), "sha256": weights_sha256(index), "rgb_mean": (0,) * 3, "rgb_std": (255,) * 3}
    rgb, flow = run(tmp_path, **small, **given)
    network, card = load_bundle(rgb)
    assert card.preprocessing.std == (255.0,) * 3
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert torch.equal(load_bundle(flow)[0].stem.weight[:, 0], state["features.0.0.weight"].mean(dim=1))


def test_normalisation_reaches_the_cards(tmp_path: Path) -> None:
    params = {"rgb_mean": (110.2, 100.6, 96.0), "rgb_std": (58.1, 56.5, 55.3), "flow_mean": 128.0, "flow_std": 20.0}
    rgb, flow = (load_card(folder).preprocessing for folder in run(tmp_path, **params))
    assert (rgb.mean, rgb.std) == (params["rgb_mean"], params["rgb_std"])
    assert (flow.mean, flow.std) == ((128.0, 128.0), (20.0, 20.0))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"checkpoint": "a.pth"}, "checkpoint and sha256 go together"),
        ({"sha256": "0" * 64}, "checkpoint and sha256 go together"),
        ({"checkpoint": "a.pth", "sha256": "12"}, "pretrain.sha256"),
        ({"checkpoint": "s3d-d76dad2f.pth", "sha256": "0" * 64}, "begins with d76dad2f, and sha256 with 00000000"),
        ({"checkpoint": "a.index", "sha256": "0" * 64}, "its layout is that of architecture s3d_g_tensorflow"),
        ({"checkpoint": "https://a.org/a.index", "sha256": "0" * 64}, "is several files"),
        ({"flow_checkpoint": "a.pth"}, "flow_checkpoint and flow_sha256 go together"),
        ({"flow_checkpoint": "s3d-kinetics400"}, "has learnt from RGB"),
        ({"architecture": "s4d"}, "pretrain.architecture"),
        ({"architecture": "tsn"}, "pretrain_tsn"),
        ({"architecture": "alstm"}, "train_recurrent"),
        ({"architecture": "nobodys.network"}, "no module that may be imported"),
        ({"hyperparameters": {"depth": 3}}, "takes no 'depth'"),
        ({"width": 0}, "pretrain.width"),
        ({"widht": 1}, "pretrain.widht"),
        ({"dropout": 1}, "pretrain.dropout"),
        ({"flow_std": 0}, "pretrain.flow_std"),
        ({"rgb_mean": [1, 2]}, "pretrain.rgb_mean"),
    ],
)
def test_impossible_params_are_named(values: dict[str, Any], named: str) -> None:
    with pytest.raises(KineflowError) as caught:
        parse_params(PretrainSettings, values, where="pretrain")
    assert named in str(caught.value)


@pytest.mark.parametrize("architecture", ["s3d", "s3d_g", "s3d_g_tensorflow"])
def test_params_and_networks_agree(architecture: str, tmp_path: Path) -> None:
    """Every network can be pretrained, and takes every value that its parameters allow."""
    for values in ({}, {"stem_temporal_stride": 1, "stem_spatial_stride": 1, "bn_momentum": 1.0}):
        run(tmp_path, architecture=architecture, **values)


def test_params_and_step_import_no_torch() -> None:
    code = "import sys, components.pretrain; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
