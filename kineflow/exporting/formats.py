"""The forms a model is exported to; plain values."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

ExportFormat = Literal["onnx", "torch"]

EXPORT_FILES: Mapping[ExportFormat, str] = MappingProxyType({"onnx": "model.onnx", "torch": "model.pt2"})
"""What the network's file is called in each form."""

DESCRIPTION_FILE = "export.json"
"""Beside it: what goes in, what comes out, and which bundle it is of."""

INPUT_NAME = "clips"
OUTPUT_NAMES = ("logits", "probabilities")
