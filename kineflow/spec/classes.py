"""The names of a model's or a data set's classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from kineflow.storage.errors import KineflowError

MAX_CLASSES = 10_000
"""A confusion matrix of more would take gigabytes; the largest set of actions published has 3,806."""


def checked_classes(names: object) -> tuple[str, ...]:
    """Names of classes, in their order.

    Raises:
        ValueError: They are no list of distinct texts, or more than :data:`MAX_CLASSES`.
    """
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError("classes that are no list of names")
    if len(names) > MAX_CLASSES:
        raise ValueError(f"{len(names)} classes; at most {MAX_CLASSES} are taken")
    if twice := repeated(names):
        raise ValueError(f"class {twice[0]!r} is listed twice")
    return tuple(names)


def repeated(names: Sequence[str]) -> list[str]:
    """Names that are there more than once, sorted."""
    return sorted(name for name, times in Counter(names).items() if times > 1)


def labels_of(label: str | None, also: str) -> tuple[str, ...]:
    """All class names of a clip: its label, and further ones, one a line; none where it has no label."""
    return () if label is None else (label, *also.splitlines())


def several_classes(what: str) -> KineflowError:
    """The error to raise where clips of several classes are given to what takes one class a clip."""
    return KineflowError(
        f"clips of this set are of several classes at once, and {what} takes one class a clip",
        remedy="learn from them with the recipe alstm, and network.multi_label: true in its networks (docs/systems.md)",
    )
