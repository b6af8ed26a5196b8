"""The step ``store_set``: a clip or flow set is put where sets of other runs are."""

from __future__ import annotations

import json
from pathlib import Path

from components.frontend.command import command
from components.frontend.contract import DatasetInput, FileOutput, StepResult, UntrackedResult
from kineflow.sets.store_settings import StoreSetSettings


def store_set(
    *, made: DatasetInput, params: StoreSetSettings, part: str = "0/1", name: str = "", stored: FileOutput
) -> UntrackedResult:
    """Put the index of a clip or flow set where sets of other runs are, for runs that join them; media stay.

    A set of the same name there is replaced.

    Args:
        made: Clip set, which may be a shard, or flow set.
        params: Where to.
        part: Which part of all it is, counted from 0.
        name: Of the set there; empty for one by its part: ``part-0-of-4`` for 0/4.
        stored: JSON file to write, with the place.

    Raises:
        KineflowError: It is no set, or keeps its media itself; the name is none; or the place cannot be written to.
    """
    from kineflow.sets.stored import store_set as store
    from kineflow.spec.shard import Shard
    from kineflow.storage.files import atomic_file

    shard = Shard.parse(part)
    there = store(made, params.place, name or f"part-{shard.index}-of-{shard.count}")
    with atomic_file(Path(stored)) as partial:
        partial.write_text(json.dumps({"place": there}) + "\n", encoding="utf-8")
    return StepResult(summary=there)


if __name__ == "__main__":
    command(store_set)
