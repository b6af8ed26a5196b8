"""Torch takes a second to import: only these tests do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.kineflow.models.conftest import fill

CLASSES = ("left", "right", "spin", "still", "zoom")


@pytest.fixture
def bundle_of(tmp_path: Path) -> Callable[..., Path]:
    """Bundle of a small network with weights by formula."""
    import torch

    from kineflow.models.bundle import save_bundle
    from kineflow.models.card import ModelCard
    from kineflow.models.clip_descriptor import ClipDescriptor
    from kineflow.models.registry import create_model
    from kineflow.spec.modality import Modality
    from kineflow.spec.preprocessing import Preprocessing

    def make(
        name: str,
        hyper: Mapping[str, Any],
        channels: int,
        *,
        modality: Modality | None = None,
        frames: int = 3,
        side: int = 64,
        **more: Any,
    ) -> Path:
        kinds: dict[int, Modality] = {2: "flow", 3: "rgb"}
        kind = modality or kinds.get(channels, "rgb_flow")
        spread = {"mean": tuple(120.0 + c for c in range(channels)), "std": tuple(60.0 + c for c in range(channels))}
        preprocessing = Preprocessing(kind, frames, 1, side, side, **{**spread, **more})
        network = create_model(name, num_classes=len(CLASSES), in_channels=channels, **hyper)
        with torch.no_grad():
            fill(network)
            if isinstance(network, ClipDescriptor):  # of which a formula would make no range of colours
                network.image_mean.fill_(127.5)
                network.image_std.fill_(127.5)
        folder = tmp_path / "bundle"
        save_bundle(folder, network, ModelCard("student", name, dict(hyper), CLASSES, preprocessing))
        return folder

    return make
