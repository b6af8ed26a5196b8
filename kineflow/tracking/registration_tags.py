"""What a run of the step register says of the version that it has registered."""

from __future__ import annotations

MODEL_TAG = "registered.model"
VERSION_TAG = "registered.version"
GATE_TAG = "registered.gate"
"""What the gate said of it beside the champion of that moment."""
