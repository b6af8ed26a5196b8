"""Backbones out of bundles, and features that are theirs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from kineflow.models.bundle import save_bundle, weights_digest
from kineflow.models.card import ModelCard
from kineflow.models.registry import create_model
from kineflow.sets.feature_set import FeatureSet, FeatureSource
from kineflow.spec.preprocessing import Preprocessing
from kineflow.storage.errors import KineflowError
from kineflow.training.streams import load_image_network, load_stream

SEEN = Preprocessing("rgb", 1, 1, 16, 16, (0.0,) * 3, (1.0,) * 3, segments=1)


def bundle(folder: Path, *, seed: int = 0, snippet_frames: int = 1) -> Path:
    hyperparameters = {"backbone": "googlenet", "width": 0.125, "output_stride": 8, "snippet_frames": snippet_frames}
    torch.manual_seed(seed)
    network = create_model("tsn", num_classes=2, in_channels=3, **hyperparameters)
    save_bundle(folder, network, ModelCard("b", "tsn", hyperparameters, ("x", "y"), SEEN))
    return folder


@pytest.fixture
def features(tmp_path: Path) -> Path:
    digest = weights_digest(bundle(tmp_path / "backbone"))
    source = FeatureSource(digest, "b", "map", dataclasses.replace(SEEN, segments=0))
    FeatureSet(source, (128, 2, 2), {}, "/nowhere").save(tmp_path / "features")
    return tmp_path / "features"


@pytest.mark.slow
def test_the_network_that_has_made_them(features: Path) -> None:
    stream = load_stream(features, features.parent / "backbone")
    assert stream.features.shape == (128, 2, 2)
    assert stream.card.name == "b"
    with torch.no_grad():
        assert stream.network.forward_features(torch.zeros(1, 3, 16, 16)).shape == (1, 128, 2, 2)


@pytest.mark.slow
def test_features_of_another_network(features: Path) -> None:
    other = bundle(features.parent / "other", seed=1)
    with pytest.raises(KineflowError, match="another network than 'b'"):
        load_stream(features, other)


@pytest.mark.slow
def test_networks_that_see_several_frames(tmp_path: Path, tiny_initial: dict[str, Path]) -> None:
    for folder in (bundle(tmp_path / "stack", snippet_frames=5), tiny_initial["rgb"]):
        with pytest.raises(KineflowError, match="no network that looks at one frame"):
            load_image_network(folder)
