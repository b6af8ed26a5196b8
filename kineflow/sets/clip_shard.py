"""What a shard of a clip set says of itself, so that it is taken for no whole one, and only joined with its like."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from kineflow.spec.shard import Shard
from kineflow.storage.config import Params

_Fact = Annotated[str, Field(max_length=4096)] | int | float | Annotated[tuple[int, ...], Field(max_length=2)]


class ClipShard(Params):
    """One of several parts that a source is ingested in, as ``clipset.json`` has it."""

    index: int = Field(ge=0)
    """Which part, from 0."""

    count: int = Field(ge=2)
    """Of how many."""

    of_clips: str = Field(max_length=64)
    """Digest of all listed clips, whatever shard they are in."""

    made_from: dict[str, _Fact]
    """What all shards of a set have in common: the source and how clips are stored, by the key of ``ingestion``."""

    val_share: float = Field(ge=0, lt=1)
    """Share of the training groups to hold out as val, once all are together."""

    seed: int
    """That decides which."""

    @model_validator(mode="after")
    def _is_there(self) -> ClipShard:
        if self.index >= self.count:
            raise ValueError(f"there is no shard {self.index}/{self.count}")
        return self

    @property
    def place(self) -> Shard:
        """Which of how many."""
        return Shard(self.index, self.count)
