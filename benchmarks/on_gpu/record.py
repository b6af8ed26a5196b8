"""What a part has measured so far: a JSON file that is whole at any time, for a part may be stopped at any time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Record:
    """Figures by name, written anew with each."""

    def __init__(self, path: Path) -> None:
        self._path, self._figures = path, {}

    def put(self, name: str, figure: Any) -> None:
        """Set a figure: anything that JSON can hold."""
        self._figures[name] = figure
        write_json(self._path, self._figures)

    def append(self, name: str, figure: Any) -> None:
        """Add to a list of figures."""
        self.put(name, [*self._figures.get(name, []), figure])


def write_json(path: Path, content: Any) -> None:
    """Whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    partial.replace(path)


def in_one_line(error: BaseException) -> str:
    """An error for a cell of a table."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
