"""What is said beside an exported network, so that it can be used without Kineflow."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import kineflow
from kineflow.exporting.clip_classifier import input_dtype, input_shape
from kineflow.exporting.formats import INPUT_NAME, OUTPUT_NAMES, ExportFormat
from kineflow.models.bundle import weights_digest
from kineflow.models.card import CARD_FILE, ModelCard
from kineflow.serving.tested import UNTESTED, AsTested
from kineflow.storage.files import sha256_of

_FORMAT = 1


def described(
    card: ModelCard,
    bundle: Path,
    file: Path,
    to: ExportFormat,
    *,
    opset: int | None,
    difference: float,
    tested: AsTested | None,
) -> dict[str, Any]:
    """The description as JSON takes it.

    Args:
        card: Of the model.
        bundle: Its folder.
        file: The exported network.
        to: Its form.
        opset: Of ONNX.
        difference: The greatest between its outputs and the bundle's.
        tested: How the model was tested, where that is known.
    """
    wanted = card.preprocessing
    batch, scores = "batch", len(card.classes)
    views = tested.views if tested else UNTESTED
    description: dict[str, Any] = {
        "format": _FORMAT,
        "model": card.name,
        "architecture": card.architecture,
        "classes": list(card.classes),
        "file": {"name": file.name, "kind": to, "sha256": sha256_of(file), "bytes": file.stat().st_size},
        "input": {
            "name": INPUT_NAME,
            "dtype": str(input_dtype(wanted.modality)).removeprefix("torch."),
            "shape": [batch, *input_shape(wanted)],
            "axes": ["clip", "time", "height", "width", "channel"],
            "holds": _HOLDS[wanted.modality],
        },
        "outputs": [{"name": name, "dtype": "float32", "shape": [batch, scores]} for name in OUTPUT_NAMES],
        "preprocessing": wanted.plain(),
        "done_inside": ["channel_order", "mean", "std", "sigmoid" if card.multi_label else "softmax"],
        "video_score": {
            **views.plain(),
            "mean_of": "logits" if wanted.segments or views.view_aggregation == "logits" else "probabilities",
        },
        "flow": asdict(card.flow) if card.flow is not None else None,
        "bundle": {"weights_sha256": weights_digest(bundle), "card_sha256": sha256_of(bundle / CARD_FILE)},
        "greatest_difference": difference,
        "made_by": {"kineflow": kineflow.__version__, "torch": torch.__version__},
    }
    if opset is not None:
        description["file"]["opset"] = opset
    return description


_HOLDS = {
    "rgb": "frames, RGB, 0..255",
    "rgb_difference": "the next frame less each frame, RGB, -255..255",
    "flow": "flow u, v as 0..255, still at the middle",
    "warped_flow": "flow u, v without the camera's motion, as 0..255, still at the middle",
    "rgb_flow": "frames, RGB, 0..255; behind them flow u, v of each flow frame as 0..255, still at the middle",
}
