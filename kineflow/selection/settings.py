"""How clips are described, and how a classifier on the descriptions is chosen."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from kineflow.spec.descriptors import split_groups
from kineflow.spec.scoring_protocol import ScoringProtocol
from kineflow.storage.config import LocalFolder, Params, faults_of_a_key

MOST_FOLDS = 20


class DescribeSettings(Params):
    """What of each clip is described."""

    windows: int = Field(8, ge=1, le=100)
    """Windows of a clip, at most: as few as cover it, spread evenly."""

    batch_size: int = Field(8, ge=1, le=4096)
    """Windows a forward pass."""

    workers: int = Field(0, ge=0, le=64)
    """Processes that decode beside the network; 0: it waits."""

    media_root: LocalFolder = ""
    """Folder for the descriptions, such as a shared volume; empty: the project's store ``media``, or outside of a
    project the set itself."""


class BlendSettings(Params):
    """How families of descriptors are compared by folds, and what is made of the best."""

    folds: int = Field(5, ge=2, le=MOST_FOLDS)
    """Parts of the labelled clips, whole groups each; every clip is judged by a model that saw none of its group."""

    families: tuple[str, ...] = (
        "motion",
        "flow",
        "motion+flow",
        "motion+flow+direction",
        "appearance",
        "change",
        "motion+change",
        "motion+flow+change",
        "motion+flow+direction+appearance+change",
    )
    """Sets of groups of descriptors, joined by ``+``; those that the descriptor has no columns for are left out."""

    strengths: tuple[Annotated[float, Field(gt=0, le=1e6)], ...] = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
    """C of logistic regression, inverse of its L2 penalty, among which folds within the training clips choose."""

    members: int = Field(3, ge=1, le=8)
    """The best families whose logits are averaged into the model."""

    @field_validator("families")
    @classmethod
    def _there_are_such_groups(cls, families: tuple[str, ...]) -> tuple[str, ...]:
        with faults_of_a_key():
            ordered = tuple("+".join(split_groups(family)) for family in families)
        if not ordered or len(set(ordered)) < len(ordered):
            raise ValueError("name at least one family, each once")
        return ordered

    @field_validator("strengths")
    @classmethod
    def _there_is_one(cls, strengths: tuple[float, ...]) -> tuple[float, ...]:
        if not strengths:
            raise ValueError("name at least one")
        return tuple(sorted(set(strengths)))


class SelectSettings(BlendSettings):
    """How families of descriptors are compared by folds, what is made of the best, and how all of them are reported."""

    name: str = Field("blend", min_length=1)
    """Of the model."""

    examples: int = Field(12, ge=0, le=24)
    """Clips that the report shows."""

    def protocol(self, split: str) -> ScoringProtocol:
        """How its clips were judged."""
        if split == "test":
            words = f"chosen by {self.folds} folds of the training clips, judged on the clips of test"
        else:
            words = f"{self.folds} folds of whole groups; chosen and fitted anew in each, judged on clips held out"
        return ScoringProtocol(words, {"split": split, "folds": 0 if split == "test" else self.folds})

    @model_validator(mode="after")
    def _its_name_is_its_own(self) -> Self:
        if self.name in {" and ".join(family.split("+")) for family in self.families}:
            raise ValueError(f"name: {self.name!r} is that of a family")
        return self
