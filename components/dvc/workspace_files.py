"""The files of a workspace, in which DVC keeps how a recipe with one parameter file stands."""

from __future__ import annotations

import re
from pathlib import Path

DVC_FILE = "dvc.yaml"
LOCK_FILE = "dvc.lock"
DIGESTS_FILE = "digests.yaml"
OUTPUTS = "outputs"

LEFT_OUT = "left_out"
"""In a stage's ``meta``: keys that the parameter file does not have, by the argument that would read them."""

KEPT_AS = {DVC_FILE: "dvc.yaml.txt", LOCK_FILE: "dvc.lock.txt", DIGESTS_FILE: "digests.yaml"}
"""How a run's record calls them: DVC reads every ``dvc.yaml`` below a project."""

_OF_RECIPE = re.compile(r"# The recipe (\w+)")


def recipe_of(folder: Path) -> str | None:
    """Of which recipe the ``dvc.yaml`` in a folder is; None where it is of none, or is not there."""
    path = folder / DVC_FILE
    match = _OF_RECIPE.match(path.read_text(encoding="utf-8")) if path.is_file() else None
    return match[1] if match else None
