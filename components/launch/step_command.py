"""A step as the command that it would be for a user."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def step_command(module: str, given: Mapping[str, Any], metrics: Path) -> list[str]:
    """What to call Python with, to run a step as a command that writes its figures to ``metrics``.

    Args:
        module: Of the step.
        given: Its arguments by name: paths and lists of them, parameter sections as plain mappings, and plain values.
            None: not given.
        metrics: File to write.
    """
    command = ["-m", module]
    for key, value in {**given, "metrics": metrics}.items():
        if value is None:
            continue
        flag = f"--{key.replace('_', '-')}"
        if isinstance(value, list):
            command += [flag, *map(str, value)]
            continue
        text = str(value) if isinstance(value, str | Path) else json.dumps(value)
        command += [f"{flag}={text}"] if text.startswith("-") else [flag, text]
    return command
