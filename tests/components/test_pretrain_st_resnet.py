from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from components.pretrain_st_resnet import pretrain_st_resnet
from components.pretrain_tsn import pretrain_tsn
from components.train import train
from kineflow.models.bundle import load_bundle, save_bundle, weights_digest
from kineflow.models.card import load_card, splits_learnt
from kineflow.models.pretrain_st_resnet_settings import PretrainSTResNetSettings
from kineflow.models.pretrain_tsn_settings import PretrainTsnSettings
from kineflow.models.registry import create_model
from kineflow.models.st_resnet import STResNet
from kineflow.models.tsn import TSN
from kineflow.spec.flow_source import FlowSource
from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError
from kineflow.training.settings import TrainSettings

pytestmark = pytest.mark.slow

FIELDS = 2
CLASSES = ("dark", "light")
SOURCE = FlowSource(bound_px=7.0)


def make_streams(folder: Path, *, classes: tuple[str, ...] = CLASSES, **params: Any) -> dict[str, Path]:
    """Bundles of an appearance and a motion stream as training leaves them, with weights that it has not seen."""
    values = {"backbone": "resnet50", "segments": 1, "width": 0.125, "output_stride": 8, "flow_frames": FIELDS}
    folders = {name: folder / "initial" / name for name in ("rgb", "difference", "flow", "warped")}
    pretrain_tsn(params=PretrainTsnSettings(**(values | {"cross_modality": False} | params)), **folders)
    streams = {}
    for number, (name, initial) in enumerate((("appearance", "rgb"), ("motion", "flow"))):
        network, card = load_bundle(folders[initial])
        torch.manual_seed(number)
        network.reset_classifier(len(classes))
        card = dataclasses.replace(card, name=name, classes=classes, metrics={"val/top1": 0.5})
        if name == "motion":
            card = dataclasses.replace(card, flow=SOURCE)
        save_bundle(folder / name, network, card)
        streams[name] = folder / name
    return streams


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_streams(tmp_path_factory.mktemp("streams"))


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    def run(*, seed: int = 0, folder: str = "initial", parents: dict[str, Path], **params: Any) -> Path:
        pretrain_st_resnet(**parents, params=PretrainSTResNetSettings(**params), seed=seed, initial=tmp_path / folder)
        return tmp_path / folder

    return run


def test_two_streams_become_one_network(streams: dict[str, Path], run: Callable[..., Path]) -> None:
    network, card = load_bundle(run(parents=streams, injection="multiply", dropout=0.1))
    parents = [load_card(streams[name]).preprocessing for name in ("appearance", "motion")]
    assert isinstance(network, STResNet)
    assert (network.injection, network.dropout.p, network.temporal_pool) == ("multiply", 0.1, False)
    assert (card.preprocessing.modality, card.preprocessing.flow_frames, card.preprocessing.segments) == (
        "rgb_flow",
        FIELDS,
        0,
    )
    assert card.preprocessing.mean == parents[0].mean + parents[1].mean * FIELDS
    assert card.preprocessing.std == parents[0].std + parents[1].std * FIELDS
    assert (card.classes, card.flow, card.metrics) == (CLASSES, SOURCE, {})
    assert card.lineage == {
        "appearance": "appearance",
        "appearance_weights_sha256": weights_digest(streams["appearance"]),
        "motion": "motion",
        "motion_weights_sha256": weights_digest(streams["motion"]),
    }


def test_what_a_stream_has_learnt_is_handed_on(
    streams: dict[str, Path], run: Callable[..., Path], tmp_path: Path
) -> None:
    network, card = load_bundle(streams["motion"])
    save_bundle(tmp_path / "refit", network, dataclasses.replace(card, lineage={"fitted_on": "train, val"}))
    before = run(parents=streams | {"motion": tmp_path / "refit"}, folder="before")
    assert splits_learnt(load_card(before).lineage) == ("train", "val")
    assert splits_learnt(load_card(run(parents={"before": before})).lineage) == ("train", "val")


@pytest.mark.parametrize("backbone", ["resnet50", "resnet50_caffe"])
def test_its_streams_answer_as_they_did_by_themselves(tmp_path: Path, run: Callable[..., Path], backbone: str) -> None:
    """Without injection, and at a single step, the centre tap alone is heard."""
    streams = make_streams(tmp_path / "streams", backbone=backbone)
    network = load_bundle(run(parents=streams, direction="none", temporal_init="centre"))[0]
    assert isinstance(network, STResNet)
    clips = torch.randn(2, 3 + 2 * FIELDS, 1, 32, 32, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        logits = network.forward_streams(clips)
        for name, images in (("appearance", clips[:, :3]), ("motion", clips[:, 3:])):
            parent = load_bundle(streams[name])[0]
            assert isinstance(parent, TSN)
            found = getattr(logits, name)[:, 0]
            torch.testing.assert_close(found, parent.backbone(images[:, :, 0]), rtol=1e-4, atol=1e-5)
            assert found.abs().max() > 1e-4


def test_colours_as_bgr_stay_so(tmp_path: Path, run: Callable[..., Path]) -> None:
    wanted = load_card(run(parents=make_streams(tmp_path, normalisation="caffe"))).preprocessing
    assert (wanted.channel_order, wanted.mean[:3]) == ("bgr", (104.0, 117.0, 123.0))


def test_the_seed_decides_what_is_drawn_anew(streams: dict[str, Path], run: Callable[..., Path]) -> None:
    digests = [
        weights_digest(run(parents=streams, temporal_init="random", seed=seed, folder=name))
        for seed, name in ((1, "a"), (1, "b"), (2, "c"))
    ]
    assert digests[0] == digests[1] != digests[2]
    averaged = [weights_digest(run(parents=streams, seed=seed, folder=name)) for seed, name in ((1, "d"), (2, "e"))]
    assert averaged[0] == averaged[1]  # nothing is drawn


def test_the_star_has_the_weights_of_the_network_before_it(streams: dict[str, Path], run: Callable[..., Path]) -> None:
    before = run(parents=streams, temporal_init="centre", folder="before")
    star = run(parents={"before": before}, temporal_pool=True, freeze_norm=True, dropout=0.2)
    network, card = load_bundle(star)
    assert isinstance(network, STResNet)
    assert weights_digest(star) == weights_digest(before)
    assert (network.temporal_pool, network.freeze_norm, network.dropout.p) == (True, True, 0.2)
    assert network.temporal_init == "centre"
    assert (card.classes, card.flow) == (CLASSES, SOURCE)
    assert card.lineage == {"before": "initial-st_resnet", "before_weights_sha256": weights_digest(before)}


def settings(**changes: Any) -> TrainSettings:
    values = {
        "frames": 3, "short_side": 16, "crop": 12, "steps": 2, "validate_every_steps": 1, "batch_size": 3,
        "flip": False, "stride_frames_max": 2, "test_frames": 5, "short": "closer",
        "optimiser": {"name": "sgd", "learning_rate": 1e-3},
    }  # fmt: skip
    return TrainSettings(**(values | changes))


def test_it_is_trained_and_goes_on_to_the_star(tiny_data: Any, streams: dict[str, Path], tmp_path: Path) -> None:
    """Three networks by the steps themselves; equal seeds give equal bundles, and other seeds others."""

    def trained(parents: dict[str, Path], name: str, *, seed: int = 0, **joining: Any) -> Path:
        initial, model = tmp_path / f"{name}-initial", tmp_path / name
        pretrain_st_resnet(**parents, params=PretrainSTResNetSettings(**joining), seed=seed, initial=initial)
        train(
            clips=tiny_data.clips, flow=tiny_data.flow, initial=initial, params=settings(), name=name, seed=seed,
            model=model,
        )  # fmt: skip
        return model

    first, again, other = (
        trained(streams, name, seed=seed, temporal_init="random")
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert weights_digest(first) == weights_digest(again)
    assert weights_digest(first) != weights_digest(other)
    # Both streams' own losses are in the curves: it was trained as ST-ResNet is.
    assert {"train/appearance", "train/motion"} <= {
        line.split(",")[1] for line in (first / "curves.csv").read_text().splitlines()
    }

    star = trained({"before": first}, "star", temporal_pool=True)
    network, card = load_bundle(star)
    assert isinstance(network, STResNet)
    assert network.temporal_pool
    assert (card.preprocessing.frames, card.preprocessing.short) == (5, "closer")
    initial = load_bundle(tmp_path / "star-initial")[0].state_dict()
    for name in ("appearance.conv1.weight", "motion.conv1.weight", "classifier.motion.weight"):
        moved = (network.state_dict()[name] - initial[name]).abs().max()
        assert 0 < moved < 0.1  # the classifier was kept, not drawn anew


@pytest.mark.parametrize("given", [(), ("appearance",), ("motion",), ("appearance", "motion", "before")])
def test_parents_are_two_streams_or_one_network(
    streams: dict[str, Path], run: Callable[..., Path], given: tuple[str, ...]
) -> None:
    known = {**streams, "before": streams["motion"]}
    with pytest.raises(KineflowError, match="made of two streams, or of one ST-ResNet"):
        run(parents={name: known[name] for name in given})


def test_streams_that_are_swapped_are_refused(streams: dict[str, Path], run: Callable[..., Path]) -> None:
    swapped = {"appearance": streams["motion"], "motion": streams["appearance"]}
    with pytest.raises(KineflowError, match="TSN on resnet50 that sees rgb; 'motion' is resnet50 that sees flow"):
        run(parents=swapped)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0.25}, "width and output_stride are 0.25 and 8 for appearance, 0.125 and 8 for motion"),
        ({"output_stride": 16}, "width and output_stride are 0.125 and 16 for appearance"),
        ({"classes": ("dark", "light", "grey")}, "the streams know different classes, 3 and 2"),
        ({"backbone": "bn_inception"}, "TSN on resnet50 that sees rgb; 'appearance' is bn_inception"),
    ],
)
def test_streams_that_do_not_fit_are_refused(
    tmp_path: Path, streams: dict[str, Path], run: Callable[..., Path], changes: dict[str, Any], message: str
) -> None:
    other = make_streams(tmp_path, **changes)
    with pytest.raises(KineflowError, match=message):
        run(parents={"appearance": other["appearance"], "motion": streams["motion"]})


def test_appearance_sees_one_frame_at_a_time(
    tmp_path: Path, streams: dict[str, Path], run: Callable[..., Path]
) -> None:
    card = load_card(streams["appearance"])
    keywords = {**card.hyperparameters, "snippet_frames": 2}
    card = dataclasses.replace(card, hyperparameters=keywords)
    save_bundle(tmp_path / "two", create_model("tsn", num_classes=2, in_channels=3, **keywords), card)
    with pytest.raises(KineflowError, match="sees 2 frames at once"):
        run(parents={"appearance": tmp_path / "two", "motion": streams["motion"]})


def test_other_networks_are_refused(
    streams: dict[str, Path], tiny_initial: dict[str, Path], run: Callable[..., Path]
) -> None:
    with pytest.raises(KineflowError, match="'initial-rgb' is s3d that sees rgb"):
        run(parents={"appearance": tiny_initial["rgb"], "motion": streams["motion"]})
    with pytest.raises(KineflowError, match="'motion' is a tsn, and no ST-ResNet"):
        run(parents={"before": streams["motion"]})


def test_the_star_keeps_the_injection(streams: dict[str, Path], run: Callable[..., Path]) -> None:
    before = run(parents=streams, folder="before")
    with pytest.raises(KineflowError, match="injection is 'multiply' and was 'add'"):
        run(parents={"before": before}, injection="multiply")


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"injection": "concat"}, "join.injection"),
        ({"direction": "forwards"}, "join.direction"),
        ({"temporal_init": "mean"}, "join.temporal_init"),
        ({"dropout": 1}, "join.dropout"),
        ({"pool": True}, "join.pool"),
    ],
)
def test_impossible_params_are_named(values: dict[str, Any], named: str) -> None:
    with pytest.raises(KineflowError) as caught:
        parse_params(PretrainSTResNetSettings, values, where="join")
    assert named in str(caught.value)


def test_params_and_step_import_no_torch() -> None:
    code = "import sys, components.pretrain_st_resnet; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
