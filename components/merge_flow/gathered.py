"""The flow sets of all shards in one folder, as the step wants them; KFP hands them over one by one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Gathered:
    """What :func:`components.frontend.run_in_kfp` takes for an artifact."""

    path: str


@contextmanager
def gathered(shards: Sequence[Any], *, beside: Any) -> Iterator[Gathered]:
    """A folder in which each artifact is found under its number, as a link; it is gone after the block.

    Args:
        shards: KFP artifacts with a ``path``.
        beside: Artifact beside whose path the folder is made.
    """
    above = Path(beside.path).parent
    above.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="shards-", dir=above) as folder:
        for number, shard in enumerate(shards):
            (Path(folder) / f"{number:04}").symlink_to(Path(shard.path).resolve(), target_is_directory=True)
        yield Gathered(folder)
