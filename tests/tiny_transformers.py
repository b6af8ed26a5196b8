"""Checkpoints of transformers' real classes, small and of random weights, as ``save_pretrained`` writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FRAMES, PX, CLASSES = 4, 32, ("jump", "run", "sit")

_SHARED = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
_OF_CLIPS = {"image_size": PX, "num_frames": FRAMES, "intermediate_size": 64}
_OF_VJEPA2 = {
    "crop_size": PX, "frames_per_clip": FRAMES, "pred_hidden_size": 16, "pred_num_attention_heads": 2,
    "pred_num_hidden_layers": 1, "num_pooler_layers": 1,
}  # fmt: skip
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "videomae": ("VideoMAE", {**_SHARED, **_OF_CLIPS}),
    "timesformer": ("Timesformer", {**_SHARED, **_OF_CLIPS}),
    "vivit": ("Vivit", {**_SHARED, **_OF_CLIPS}),
    "vjepa2": ("VJEPA2", {**_SHARED, **_OF_VJEPA2}),
}
INPUT = {
    "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.5], "rescale_factor": 1 / 255,
    "size": {"shortest_edge": 40}, "crop_size": {"height": PX, "width": PX},
}  # fmt: skip


def write_tiny(folder: Path, family: str, kind: str = "ForVideoClassification", **changes: Any) -> Any:
    """Write a checkpoint with the settings of its preprocessor; gives the library's network, in evaluation mode."""
    import torch
    import transformers

    name, values = CONFIGS[family]
    labels = {"id2label": dict(enumerate(CLASSES)), "label2id": {each: n for n, each in enumerate(CLASSES)}}
    config = getattr(transformers, f"{name}Config")(**{**values, **labels, **changes})
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = getattr(transformers, f"{name}{kind}")(config)
        for parameter in network.parameters():  # zeros would hide what is left out
            torch.nn.init.normal_(parameter, std=0.1)
    network.eval().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(INPUT))
    return network
