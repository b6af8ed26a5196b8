"""Names of VGG-16's layers as its authors call them."""

from __future__ import annotations

_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # places in torchvision's features
_IN_BLOCKS = (2, 2, 3, 3, 3)
_LAYERS = [f"conv{block}_{layer}" for block, count in enumerate(_IN_BLOCKS, 1) for layer in range(1, count + 1)]
_FULLY_CONNECTED = {"fc6": "classifier.0", "fc7": "classifier.3"}


def torch_name(layer: str) -> str:
    """Torchvision's name of ``conv1_1``, ``fc6`` and such; empty for others.

    A classifier is called ``fc8``, and by those who have trained it for other classes, something that begins so.
    """
    if layer in _LAYERS:
        return f"features.{_CONVOLUTIONS[_LAYERS.index(layer)]}"
    return _FULLY_CONNECTED.get(layer) or ("classifier.6" if layer.startswith("fc8") else "")
