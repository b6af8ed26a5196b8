"""What a model answered to each clip it was judged on: kept with its version, so that two versions can be paired.

On disk a parquet file beside the model's own: columns ``clip_id``, ``label`` (class name; of a clip of several classes
all of them, one a line), ``group`` (strings) and ``rank`` (int64, place of the true class among the scores, of several
the best one's; 0 is right).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kineflow.evaluation.results import GROUPS_FILE, SCORES_FOLDER
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file, inside
from kineflow.storage.parquet import open_table

if TYPE_CHECKING:
    from kineflow.evaluation.scores import Scores

OUTCOMES_FILE = "outcomes.parquet"
MAX_OUTCOMES_BYTES = 512 * 2**20
_TEXTS = ("clip_id", "label", "group")


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Ranks of the truth by clip.

    Attributes:
        clip_ids: ``N`` distinct clips.
        labels: Their classes, one a line where a clip has several.
        groups: Their groups; empty texts where they are not known.
        ranks: int64 ``[N]``, at least 0.
    """

    clip_ids: tuple[str, ...]
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    ranks: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not len(self.clip_ids) == len(self.labels) == len(self.groups) == len(self.ranks):
            raise ValueError("columns differ in length")
        if len(set(self.clip_ids)) < len(self.clip_ids):
            raise ValueError("a clip is there twice")
        if len(self.ranks) and int(self.ranks.min()) < 0:
            raise ValueError("a rank is below 0")

    def __len__(self) -> int:
        return len(self.clip_ids)

    @property
    def has_several_classes(self) -> bool:
        """Whether a clip is of several classes: then none has figures of its own here."""
        return any("\n" in label for label in self.labels)

    def save(self, path: Path) -> None:
        """Write a parquet file, whole or not at all."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = zip(_TEXTS, (self.clip_ids, self.labels, self.groups), strict=True)
        table = pa.table({name: pa.array(values, pa.string()) for name, values in columns} | {"rank": self.ranks})
        with atomic_file(path) as partial:
            pq.write_table(table, partial)

    @classmethod
    def load(cls, path: Path) -> Outcomes:
        """Read what :meth:`save` wrote, within the bounds of :mod:`kineflow.storage.parquet`.

        Raises:
            KineflowError: It is missing, no such file, or its content does not fit together.
        """
        try:
            with open_table(path, texts=_TEXTS) as table:
                clip_ids, labels, groups = (tuple(table.texts(name)) for name in _TEXTS)
                return cls(clip_ids, labels, groups, table.numbers("rank", np.int64))
        except (OSError, ValueError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise KineflowError(
                f"no readable answers: {reason}", where=path.name, remedy="run the register step again"
            ) from None


def outcomes_of(evaluation: Path, model: str) -> Outcomes | None:
    """What an evaluation folder says of one model; None where it holds no scores of it.

    Raises:
        KineflowError: The files are damaged, or do not fit each other.
    """
    from kineflow.evaluation.metrics import ranks_of_truth
    from kineflow.evaluation.scores import Scores

    path = inside(evaluation / SCORES_FOLDER, f"{model}.parquet")
    if not path.is_file():
        return None
    scores = Scores.load(path)
    if (scores.labels < 0).any():
        raise KineflowError("clips have no label", where=path, remedy="evaluate on a labelled split (val or test)")
    groups = _groups(evaluation / GROUPS_FILE)
    return Outcomes(
        scores.clip_ids,
        _labels(scores),
        tuple(groups.get(clip_id, "") for clip_id in scores.clip_ids),
        ranks_of_truth(scores.logits, scores.nearest_labels),
    )


def _labels(scores: Scores) -> tuple[str, ...]:
    if scores.truth is None:
        return tuple(scores.classes[label] for label in scores.labels)
    return tuple("\n".join(scores.classes[number] for number in row.nonzero()[0]) for row in scores.truth)


def _groups(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        with open_table(path, texts=["clip_id", "group"]) as table:
            return dict(zip(table.texts("clip_id"), table.texts("group"), strict=True))
    except (OSError, ValueError) as error:
        raise KineflowError(f"malformed: {error}", where=path, remedy="run the evaluate step again") from None
