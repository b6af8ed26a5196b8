"""How a parameter file names a network of transformers and its checkpoint, apart from both: checked without either."""

from __future__ import annotations

import re

ARCHITECTURE = "transformers"
"""Under which :mod:`kineflow.models.registry` knows these networks."""

_NAME = r"[A-Za-z0-9][\w.-]{0,95}"
_HUB_ID = re.compile(rf"({_NAME}/{_NAME})@([0-9a-f]{{40}})")


def is_hub_id(checkpoint: str) -> bool:
    """Whether a checkpoint in a parameter file is ``ORGANISATION/NAME@COMMIT``, and no path."""
    return _HUB_ID.fullmatch(checkpoint) is not None


def check_library_checkpoint(checkpoint: str) -> None:
    """Check the key that names a checkpoint of transformers, as far as it alone can tell.

    Raises:
        ValueError: It is neither a folder nor a hub id at a commit.
    """
    if not checkpoint:
        raise ValueError(
            "a network of transformers starts from a checkpoint: the folder that save_pretrained wrote, "
            "or a hub id, ORGANISATION/NAME@COMMIT"
        )
    if "://" in checkpoint:
        raise ValueError("checkpoint of transformers is a folder or a hub id, ORGANISATION/NAME@COMMIT, and no URL")
    if not is_hub_id(checkpoint) and re.fullmatch(rf"{_NAME}/{_NAME}(@.*)?", checkpoint):
        name = checkpoint.partition("@")[0]
        raise ValueError(
            f"checkpoint {checkpoint!r}: a hub id needs the commit, {name}@ and 40 hex digits, as the page of its "
            f"commits lists them; a folder is written ./{name}"
        )
