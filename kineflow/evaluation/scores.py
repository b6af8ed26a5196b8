"""Class scores of one model for a set of clips: saved once, so that fusion and comparison never need the model again.

On disk a parquet file: columns ``clip_id`` (string), ``label`` (int64 index, -1 for none), ``logits`` (list of float32,
one for each class); the model's name, the split and the class names are in the file's metadata. Of clips of several
classes also ``truth`` (list of float32, 1 for each class of the clip, else 0).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kineflow.spec.classes import checked_classes, repeated
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file
from kineflow.storage.parquet import open_table
from kineflow.storage.safe_json import parse_json

MAX_SCORES = 2**27
"""Most scores of one file, clips times classes: those of Kinetics-400's training clips are 96 million."""

_NAMES_SHOWN = 3
_METADATA_KEY = b"kineflow.scores"
_MAX_BYTES = MAX_SCORES * 4 + 2**28
_VALUES_A_GROUP = 2**22  # what is coded at once, when a file is written
_VALUES_A_PART = 2**21


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of one model (or one fusion of models).

    Attributes:
        model: Name of the model.
        clip_ids: ``N`` distinct clips.
        labels: int64 ``[N]``, index of the true class in ``classes``; -1 for an unlabelled clip.
        classes: ``K`` distinct class names.
        logits: float32 ``[N, K]``, finite; their softmax is the model's probability of each class; their sigmoid, of
            clips of several classes.
        split: Which split the clips come from; empty when unknown.
        truth: bool ``[N, K]``, the classes of each clip, where it may have several; then ``labels`` is the first of
            them. None where each has one.

    Raises:
        KineflowError: The parts do not fit together, or a score is not finite.
    """

    model: str
    clip_ids: tuple[str, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    logits: NDArray[np.float32]
    split: str = ""
    truth: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        problem = _problem(self)
        if problem:
            raise KineflowError(problem, where=f"scores of {self.model!r}", remedy="score these clips again")

    def __len__(self) -> int:
        return len(self.clip_ids)

    def probabilities(self, rows: slice = slice(None)) -> NDArray[np.float64]:
        """Softmax (sigmoid) of the logits of some clips (all by default), float64 ``[rows, K]``.

        Of many clips it is asked for part by part (:meth:`parts`): it takes several times the memory of the logits.
        """
        return softmax(self.logits[rows]) if self.truth is None else sigmoid(self.logits[rows])

    def parts(self) -> Iterator[slice]:
        """The clips in successive parts of some millions of scores."""
        step = max(1, _VALUES_A_PART // len(self.classes))
        return (slice(start, start + step) for start in range(0, len(self), step))

    @property
    def nearest_labels(self) -> NDArray[np.int64]:
        """``labels``; of a clip of several classes the one that is scored highest, so that to name any is right."""
        if self.truth is None:
            return self.labels
        nearest: NDArray[np.int64] = np.where(self.truth, self.logits, -np.inf).argmax(axis=1)
        return np.where(self.labels < 0, -1, nearest)

    def is_of(self, number: int) -> NDArray[np.bool_]:
        """Which clips are of a class, bool ``[N]``."""
        return self.labels == number if self.truth is None else self.truth[:, number]

    def predictions(self) -> NDArray[np.int64]:
        """Index of the best class for each clip, int64 ``[N]``; the lower index where scores are equal."""
        best: NDArray[np.int64] = self.logits.argmax(axis=1)
        return best

    def save(self, path: Path) -> None:
        """Write a parquet file, whole or not at all."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        described = {"model": self.model, "split": self.split, "classes": self.classes}
        ends = np.arange(len(self) + 1, dtype=np.int32) * len(self.classes)
        columns = {
            "clip_id": pa.array(self.clip_ids, pa.string()),
            "label": pa.array(self.labels),
            "logits": pa.ListArray.from_arrays(pa.array(ends), pa.array(self.logits.reshape(-1))),
        }
        if self.truth is not None:
            truth = pa.array(self.truth.reshape(-1).astype(np.float32))
            columns["truth"] = pa.ListArray.from_arrays(pa.array(ends), truth)
        table = pa.table(columns).replace_schema_metadata({_METADATA_KEY: json.dumps(described)})
        with atomic_file(path) as partial:
            pq.write_table(table, partial, row_group_size=max(1, _VALUES_A_GROUP // len(self.classes)))

    @classmethod
    def load(cls, path: Path) -> Scores:
        """Read what :meth:`save` wrote.

        Raises:
            KineflowError: The file is missing, is not a score file, or its content does not fit together.
        """
        try:
            with open_table(path, texts=["clip_id"], max_values=MAX_SCORES, max_bytes=_MAX_BYTES) as table:
                described = parse_json(table.metadata[_METADATA_KEY])
                classes = checked_classes(described["classes"])
                return cls(
                    model=str(described["model"]),
                    clip_ids=tuple(table.texts("clip_id")),
                    labels=table.numbers("label", np.int64),
                    classes=classes,
                    logits=table.matrix("logits", len(classes)),
                    split=str(described["split"]),
                    truth=table.matrix("truth", len(classes)) > 0.5 if "truth" in table.names else None,
                )
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise KineflowError(
                f"no readable score file ({_first_line(error)})", where=path, remedy="run the evaluate step again"
            ) from None


def align(scores: Sequence[Scores]) -> None:
    """Check that all scores speak of the same clips, in the same order, with the same labels and classes.

    Raises:
        KineflowError: They do not; the message names the two models and the first differences.
    """
    if not scores:
        raise KineflowError("there are no scores to compare", remedy="give at least one score file")
    first = scores[0]
    for other in scores[1:]:
        difference = _difference(first, other)
        if difference:
            raise KineflowError(
                f"scores of {first.model!r} and {other.model!r} cannot be compared: {difference}",
                remedy="score both models on the same split of the same clip set",
            )


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Softmax over the last axis, in float64, safe for large logits."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    powers = np.exp(shifted)
    probabilities: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def sigmoid(logits: NDArray[Any]) -> NDArray[np.float64]:
    """1 / (1 + e^-x) of each, in float64."""
    probabilities: NDArray[np.float64] = np.exp(-np.logaddexp(0, -logits.astype(np.float64)))
    return probabilities


def _problem(scores: Scores) -> str | None:
    clips, classes = len(scores.clip_ids), len(scores.classes)
    if not classes:
        return "no class is named"
    if scores.logits.shape != (clips, classes) or scores.labels.shape != (clips,):
        return (
            f"{clips} clips and {classes} classes do not fit logits of shape {scores.logits.shape} "
            f"and labels of shape {scores.labels.shape}"
        )
    if scores.truth is not None and (scores.truth.shape != (clips, classes) or scores.truth.dtype != np.bool_):
        return f"truth must be bool {[clips, classes]}, not {scores.truth.dtype} {[*scores.truth.shape]}"
    if scores.logits.dtype != np.float32 or scores.labels.dtype != np.int64:
        return f"logits must be float32 and labels int64, not {scores.logits.dtype} and {scores.labels.dtype}"
    for what, names in (("clip", scores.clip_ids), ("class", scores.classes)):
        if twice := repeated(names):
            return f"{what} {twice[0]!r} is listed twice"
    broken = ~np.isfinite(scores.logits).all(axis=1)
    if broken.any():
        return f"{broken.sum()} clips have scores that are not finite, the first of them {_at(scores, broken)}"
    wrong = (scores.labels < -1) | (scores.labels >= classes)
    if wrong.any():
        return f"{wrong.sum()} labels lie outside the {classes} classes, the first of them at {_at(scores, wrong)}"
    return None


def _at(scores: Scores, where: Any) -> str:
    return repr(scores.clip_ids[int(where.argmax())])


def _difference(first: Scores, other: Scores) -> str | None:
    if first.classes != other.classes:
        return _names_differ("classes", first.classes, other.classes)
    if first.clip_ids != other.clip_ids:
        return _names_differ("clips", first.clip_ids, other.clip_ids)
    differ = first.labels != other.labels
    if (first.truth is None) != (other.truth is None):
        return "clips have one class in one, and several in the other"
    if first.truth is not None and other.truth is not None:
        differ = differ | (first.truth != other.truth).any(axis=1)
    if differ.any():
        return f"{differ.sum()} clips have another label, the first of them {_at(first, differ)}"
    return None


def _names_differ(what: str, first: tuple[str, ...], other: tuple[str, ...]) -> str:
    missing, extra = sorted(set(first) - set(other)), sorted(set(other) - set(first))
    if not missing and not extra:
        index = next(i for i, (one, two) in enumerate(zip(first, other, strict=True)) if one != two)
        return f"the same {what} in another order (place {index}: {first[index]!r}, {other[index]!r})"
    parts = [f"{len(missing)} {what} only in the first ({_some(missing)})"] if missing else []
    parts += [f"{len(extra)} {what} only in the second ({_some(extra)})"] if extra else []
    return ", ".join(parts)


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMES_SHOWN]) + (", …" if len(names) > _NAMES_SHOWN else "")


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0]}" if str(error) else type(error).__name__
