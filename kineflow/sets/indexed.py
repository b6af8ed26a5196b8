"""What clip, flow and feature sets have in common: a small folder with an index, whose media lie elsewhere.

A set on disk is an index (a parquet file, one row a clip, columns as the fields of a dataclass) and a JSON file that
says what holds for all rows: the version of the format, and the root below which the rows' paths lead to the bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
import types
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from kineflow.sets.media import index_copy, loaded_root, recorded_root
from kineflow.spec.status import Status
from kineflow.spec.video_bounds import MAX_FILE_FRAMES
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file
from kineflow.storage.media import Media, locate
from kineflow.storage.parquet import Table, open_table
from kineflow.storage.safe_json import read_json

_VERSION, _ROOT = "format_version", "media_root"
_NUMBERS: dict[type, type[np.generic]] = {int: np.int32, float: np.float64}
# Frames of a file, of which a part may be late, and a rejected row has a few more; pixels of a side. It bounds what a
# row can make others lay out.
_MOST_WHOLE = 2 * MAX_FILE_FRAMES
_SIGNED = frozenset({"rotation"})
_NAMES_SHOWN = 20


class Row(Protocol):
    """A row of an index: a dataclass of texts, numbers and members of :class:`~enum.StrEnum`, some of them optional."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def clip_id(self) -> str:
        """Of which clip."""

    @property
    def path(self) -> str:
        """Of its media below the root; empty when there are none."""

    @property
    def status(self) -> Status:
        """Whether there are."""

    @property
    def reason(self) -> str:
        """Why there are none."""


R = TypeVar("R", bound=Row)
T = TypeVar("T")


class MissingMediaError(KineflowError):
    """A file that a set names is not there: somebody has removed it."""


@dataclass(frozen=True)
class SetFiles(Generic[R]):
    """How a kind of set lies on disk.

    Attributes:
        kind: Of set, for people.
        step: That writes it.
        row: Dataclass of a row.
        index: Name of the parquet file.
        described: Name of the JSON file.
        version: Of the format that is written; later ones are refused, earlier ones are read.
    """

    kind: str
    step: str
    row: type[R]
    index: str
    described: str
    version: int

    def save(self, folder: Path, rows: Iterable[R], media_root: str, facts: Mapping[str, Any]) -> None:
        """Write a set; its media root is kept relative to ``folder`` where both move together.

        A project keeps a copy of the index of every set whose media lie in its store (``sets/<sha256>.parquet``
        there), so that what a registered model was made from can be told when the set is gone.

        Raises:
            KineflowError: The media root is none (:func:`kineflow.storage.media.check_root`).
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        root = recorded_root(media_root, folder)
        folder.mkdir(parents=True, exist_ok=True)
        plain = [dataclasses.asdict(row) for row in sorted(rows, key=lambda row: row.clip_id)]
        with atomic_file(folder / self.index) as partial:
            pq.write_table(pa.Table.from_pylist(plain, schema=self._schema()), partial)
        described = {_VERSION: self.version, **facts, _ROOT: root}
        with atomic_file(folder / self.described) as partial:
            partial.write_text(json.dumps(described, indent=1) + "\n")
        index = (folder / self.index).read_bytes()
        copy = index_copy(folder, media_root, hashlib.sha256(index).hexdigest())
        if copy and not copy.is_file():
            with atomic_file(copy) as partial:
                partial.write_bytes(index)

    def load(self, folder: Path, parse: Callable[[Mapping[str, Any]], T]) -> tuple[list[R], str, T]:
        """Read a set.

        Args:
            folder: Of the set.
            parse: Reads the facts of the JSON file.

        Returns:
            Rows, media root, and what ``parse`` gives.

        Raises:
            KineflowError: A file is missing, is not that of such a set, or is of a later version.
        """
        try:
            described = dict(read_json(folder / self.described))
            self._check_version(described, folder)
            rows = self.rows(folder / self.index)
            recorded, facts = str(described[_ROOT]), parse(described)
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:  # pydantic's are such as well
            raise KineflowError(
                f"no readable {self.kind} here ({error})",
                where=folder,
                remedy=f"run the {self.step} step into this folder",
            ) from None
        return rows, loaded_root(recorded, folder), facts

    def rows(self, index: Path) -> list[R]:
        """The rows of an index.

        Raises:
            OSError: It cannot be read.
            ValueError: It is no such index.
            TypeError: Likewise.
        """
        hints = get_type_hints(self.row)
        fields = dataclasses.fields(self.row)
        later = {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
        texts = [field.name for field in fields if hints[field.name] not in _NUMBERS]
        with open_table(index, texts=texts) as table:
            names = [field.name for field in fields if field.name in table.names or field.name not in later]
            if list(table.names) != names:
                raise ValueError(f"columns {', '.join(table.names[:_NAMES_SHOWN])}, not {', '.join(names)}")
            columns = [
                _column(table, field.name, hints[field.name])
                if field.name in names
                else itertools.repeat(later[field.name], table.rows)  # it came with a later version of the format
                for field in fields
            ]
        rows = [self.row(*cells) for cells in zip(*columns, strict=True)]
        if len({row.clip_id for row in rows}) < len(rows):
            twice, _ = Counter(row.clip_id for row in rows).most_common(1)[0]
            raise ValueError(f"clip {twice!r} is listed twice")
        return rows

    def locate(self, media_root: str, row: R) -> Media:
        """Where the media of a row are.

        Raises:
            KineflowError: The path leads outside the media root.
            MissingMediaError: A local file is not there any more.
        """
        media = locate(media_root, row.path)
        if isinstance(media, Path) and not media.exists():
            raise MissingMediaError(
                f"the file of clip {row.clip_id!r} in a {self.kind} is gone",
                where=media,
                remedy=f"run the {self.step} step again into the same set, which makes only what is missing: "
                "dvc repro --single-item --force STAGE, with the name of its stage in dvc.yaml",
            )
        return media

    def _check_version(self, described: Mapping[str, Any], folder: Path) -> None:
        version = int(described.get(_VERSION, 1))  # the first sets did not say
        if version > self.version:
            raise KineflowError(
                f"a {self.kind} of format {version}; this Kineflow reads up to {self.version}",
                where=folder,
                remedy=f"install the Kineflow that wrote it, or run the {self.step} step again",
            )

    def _schema(self) -> Any:  # pyarrow ships no types
        import pyarrow as pa

        numbers = {int: pa.int32(), float: pa.float64()}
        hints = get_type_hints(self.row)
        return pa.schema(
            [
                pa.field(name, numbers.get(hints[name], pa.string()), nullable=_is_optional(hints[name]))
                for name in (field.name for field in dataclasses.fields(self.row))
            ]
        )


class ByClip(Generic[R]):
    """A set whose rows are found by the id of their clip; some have media, and the others say why not."""

    entries: Mapping[str, R]
    media_root: str

    def usable_ids(self) -> frozenset[str]:
        """Ids of the clips that have what the set is of."""
        return frozenset(clip_id for clip_id, entry in self.entries.items() if entry.status is Status.OK)

    def _with_media(self, clip_id: str, *, noun: str, remedy: str) -> R:
        """The row of a clip.

        Raises:
            KineflowError: The clip has none, or one without media.
        """
        entry = self.entries.get(clip_id)
        if entry is None or entry.status is not Status.OK:
            reason = f": {entry.status} ({entry.reason})" if entry else ""
            raise KineflowError(f"no {noun} of clip {clip_id!r}{reason}", where=self.media_root, remedy=remedy)
        return entry


def _column(table: Table, name: str, hint: Any) -> list[Any]:
    """The values of a field in all rows.

    Raises:
        ValueError: One is none of this field.
    """
    if hint in _NUMBERS:
        numbers = table.numbers(name, _NUMBERS[hint])
        most = _MOST_WHOLE if hint is int else math.inf
        least = -_MOST_WHOLE if name in _SIGNED else 0
        if len(numbers) and not (numbers.min() >= least and numbers.max() <= most and np.isfinite(numbers).all()):
            raise ValueError(f"{name} is too small or too large in a row")
        distinct, indices = np.unique(numbers, return_inverse=True)
        values = distinct.tolist()  # of a million clips a few widths: one object each
        return [values[index] for index in indices.tolist()]
    texts = table.texts(name, nullable=_is_optional(hint))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        member = {text: hint(text) for text in set(texts)}
        return [member[text] for text in texts]
    return texts


def by_clip(rows: Iterable[R]) -> dict[str, R]:
    """Rows by the id of their clip."""
    return {row.clip_id: row for row in rows}


def _is_optional(hint: Any) -> bool:
    return get_origin(hint) is types.UnionType and type(None) in get_args(hint)
