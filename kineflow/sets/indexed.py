"""What clip, flow and feature sets have in common: a small folder with an index, whose media lie elsewhere.

A set on disk is an index (a parquet file, one row a clip, columns as the fields of a dataclass) and a JSON file that
says what holds for all rows: the version of the format, and the root below which the rows' paths lead to the bytes.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from kineflow.sets.index_columns import checked_batches
from kineflow.sets.media import index_copy, loaded_root, recorded_root
from kineflow.sets.rows import R, Row, Rows, blocks_of
from kineflow.sets.rows_by_id import lacking, ordered
from kineflow.spec.status import Status
from kineflow.storage.blocks import keep
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file, sha256_of
from kineflow.storage.media import Media, locate
from kineflow.storage.parquet import MAX_BYTES, Table, open_table
from kineflow.storage.safe_json import read_json

MAX_ROWS = 2**24
"""Of an index that is read."""
_MAX_ROW_BYTES = 512  # of an index of more than 650,000 rows, on average; a clip takes 300
_VERSION, _ROOT = "format_version", "media_root"
_NUMBERS: dict[type, type[np.generic]] = {int: np.int32, float: np.float64}
_NAMES_SHOWN = 20
_ROWS_A_GROUP = 2**18

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

    def save(
        self,
        folder: Path,
        rows: Iterable[R],
        media_root: str,
        facts: Mapping[str, Any],
        *,
        without: Collection[str] = (),
    ) -> None:
        """Write a set; its media root is kept relative to ``folder`` where both move together.

        A project keeps a copy of the index of every set whose media lie in its store (``sets/<sha256>.parquet``
        there), so that what a registered model was made from can be told when the set is gone.

        Args:
            folder: Of the set.
            rows: Of the index.
            media_root: Where their paths begin.
            facts: What holds for all rows.
            without: Fields with a default that no row differs from, which are not written.

        Raises:
            KineflowError: The media root is none (:func:`kineflow.storage.media.check_root`).
        """
        root = recorded_root(media_root, folder)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(folder / self.index) as partial:
            self._write(rows, partial, without)
        described = {_VERSION: self.version, **facts, _ROOT: root}
        with atomic_file(folder / self.described) as partial:
            partial.write_text(json.dumps(described, indent=1) + "\n")
        copy = index_copy(folder, media_root, sha256_of(folder / self.index))
        if copy and not copy.is_file():
            with atomic_file(copy) as partial:
                shutil.copyfile(folder / self.index, partial)

    def load(self, folder: Path, parse: Callable[[Mapping[str, Any]], T]) -> tuple[Rows[R], str, T]:
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

    def rows(self, index: Path) -> Rows[R]:
        """The rows of an index, in columns.

        Raises:
            OSError: It cannot be read.
            ValueError: It is no such index.
            TypeError: Likewise.
        """
        hints = get_type_hints(self.row)
        fields = dataclasses.fields(self.row)
        later = {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
        texts = [field.name for field in fields if hints[field.name] not in _NUMBERS]
        with open_index(index, texts=texts) as table:
            names = [field.name for field in fields if field.name in table.names or field.name not in later]
            if list(table.names) != names:
                raise ValueError(f"columns {', '.join(table.names[:_NAMES_SHOWN])}, not {', '.join(names)}")
            stored = table.blocks(
                {name: _is_optional(hints[name]) for name in names if name in texts},
                {name: _NUMBERS[hints[name]] for name in names if name not in texts},
            )
            most = max(MAX_BYTES, table.rows * _MAX_ROW_BYTES)
            rows = Rows(self.row, keep(checked_batches(stored, hints, later, max_text_bytes=most)))
        ordered(rows)  # none is there twice
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

    def _write(self, rows: Iterable[R], path: Path, without: Collection[str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = [field.name for field in dataclasses.fields(self.row) if field.name not in without]
        schema = self._schema(names)
        in_order = ordered(rows) if isinstance(rows, Rows) else sorted(rows, key=lambda row: row.clip_id)
        groups = (in_order[first : first + _ROWS_A_GROUP] for first in range(0, len(in_order) or 1, _ROWS_A_GROUP))
        with pq.ParquetWriter(path, schema) as writer:
            for group in groups:
                blocks = [pa.table([*columns], schema) for columns in blocks_of(group, *names)]
                writer.write_table(pa.concat_tables(blocks) if blocks else schema.empty_table(), _ROWS_A_GROUP)

    def _schema(self, names: Iterable[str]) -> Any:  # pyarrow ships no types
        import pyarrow as pa

        numbers = {int: pa.int32(), float: pa.float64()}
        hints = get_type_hints(self.row)
        return pa.schema(
            [
                pa.field(name, numbers.get(hints[name], pa.string()), nullable=_is_optional(hints[name]))
                for name in names
            ]
        )


class ByClip(Generic[R]):
    """A set whose rows are found by the id of their clip; some have media, and the others say why not."""

    entries: Mapping[str, R]
    media_root: str

    def usable_ids(self) -> frozenset[str]:
        """Ids of the clips that have what the set is of."""
        return frozenset(clip_id for clip_id, entry in self.entries.items() if entry.status is Status.OK)

    def lacking(self, clips: Sequence[Row]) -> list[str]:
        """Ids of those of the clips that have no media here, in their order."""
        return lacking(self.entries, clips)

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


@contextmanager
def open_index(path: Path, *, texts: Collection[str]) -> Iterator[Table]:
    """Open the index of a set of any kind, see :func:`kineflow.storage.parquet.open_table`."""
    with open_table(path, texts=texts, max_rows=MAX_ROWS, max_row_bytes=_MAX_ROW_BYTES) as table:
        yield table


def _is_optional(hint: Any) -> bool:
    return get_origin(hint) is types.UnionType and type(None) in get_args(hint)
