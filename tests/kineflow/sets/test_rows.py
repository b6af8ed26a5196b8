"""Rows in columns do what a list of rows does, in memory and in a mapped file."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import pickle
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TypeVar, get_type_hints

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kineflow.sets import rows as rows_module
from kineflow.sets.clip_set import CLIP_FILES, Clip, ClipSet, clips_digest
from kineflow.sets.flow_set import FlowEntry, FlowSet, flow_digest
from kineflow.sets.rows import Rows, enum_of, in_order, is_one_of, joined, select, whole_numbers
from kineflow.sets.rows_by_id import RowsById, by_id, lacking, values_of
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.blocks import keep
from kineflow.storage.errors import KineflowError

R = TypeVar("R", Clip, FlowEntry)
IDS = st.text("abé\U0001f600/", min_size=1, max_size=4)
TEXTS = st.sampled_from(["", "a", "a\0", "abcdefgh", "abcdefghi", "abcdefgha", "é", "\U0001f600"])


def entry(clip_id: str, fields: int = 4, status: Status = Status.OK, path: str = "") -> FlowEntry:
    return FlowEntry(clip_id, path or f"{clip_id}.mp4", fields, 8, 6, status, "")


def clip(clip_id: str, content: str = "0", label: str | None = "x", status: Status = Status.OK) -> Clip:
    return Clip(clip_id, "a.mp4", label, "g", Split.TRAIN, 5, 25.0, 8, 6, 0, content, status, "", "b.avi", "", 0)


ENTRIES = st.lists(
    st.builds(entry, IDS, st.integers(0, 9), st.sampled_from(Status)), max_size=12, unique_by=lambda each: each.clip_id
)


def in_columns(rows: Sequence[R], kind: type[R], *, mapped: bool = False) -> Rows[R]:
    """Rows in batches of three."""
    hints = get_type_hints(kind)
    types = {int: pa.int32(), float: pa.float64()}

    def batch(part: Sequence[R]) -> pa.RecordBatch:
        columns = {}
        for field in dataclasses.fields(kind):
            cells, members = [getattr(row, field.name) for row in part], enum_of(hints[field.name])
            columns[field.name] = pa.array(
                map(members.index, cells) if members else cells,
                pa.uint8() if members else types.get(hints[field.name], pa.string()),
            )
        return pa.record_batch(columns)

    batches = [batch(rows[first : first + 3]) for first in range(0, len(rows), 3)]
    return Rows(kind, keep(batches, in_memory_bytes=0 if mapped else 2**20))


@given(entries=ENTRIES, data=st.data(), mapped=st.booleans())
def test_rows_are_a_sequence(entries: list[FlowEntry], data: st.DataObject, mapped: bool) -> None:
    rows = in_columns(entries, FlowEntry, mapped=mapped)
    numbers = data.draw(st.lists(st.integers(0, len(entries) - 1), max_size=9)) if entries else []
    for chosen, expected in (
        (rows, entries),
        (rows.take(np.array(numbers, np.int64)), [entries[number] for number in numbers]),
        (rows[1:-1], entries[1:-1]),
        (joined(rows[2:], rows[:2]), entries[2:] + entries[:2]),
    ):
        assert chosen == expected
        assert [chosen[number] for number in range(-len(chosen), len(chosen))] == [*expected, *expected]
        assert whole_numbers(chosen, "fields").tolist() == [each.fields for each in expected]
        wanted = is_one_of(chosen, "status", {Status.OK, Status.SHORT}) & is_one_of(chosen, "clip_id", {"a", "b"})
        assert select(chosen, wanted) == select(expected, wanted)
        with pytest.raises(IndexError):
            chosen[len(chosen)]


@given(entries=ENTRIES, asked=st.lists(IDS, max_size=8))
def test_rows_are_found_by_their_id(entries: list[FlowEntry], asked: list[str]) -> None:
    plain = {each.clip_id: each for each in entries}
    found = by_id(in_columns(entries, FlowEntry))
    clips = [clip(name) for name in [*asked, *plain]]
    assert found == plain
    assert [*found.values()] == [plain[name] for name in sorted(plain)]
    assert [found.get(name) for name in asked] == [plain.get(name) for name in asked]
    for given_clips in (clips, in_columns(clips, Clip)):
        assert lacking(found, given_clips) == lacking(plain, clips)
        np.testing.assert_array_equal(
            values_of(found, given_clips, "fields", missing=-1), values_of(plain, clips, "fields", missing=-1)
        )


def test_ids_far_apart_are_found_one_by_one() -> None:
    entries = [entry(f"{number:03}", fields=number) for number in range(200)]
    found = by_id(in_columns(entries, FlowEntry))
    assert isinstance(found, RowsById)
    assert found.places(["199", "000", "1", "100"]).tolist() == [199, 0, -1, 100]


@pytest.mark.parametrize("ids", ["aab", "abcdea", "baab"])
def test_no_clip_is_listed_twice(ids: str) -> None:
    with pytest.raises(ValueError, match="clip 'a' is listed twice"):
        by_id(in_columns([entry(name) for name in ids], FlowEntry))


@given(cells=st.lists(st.tuples(TEXTS, st.none() | TEXTS), max_size=14), at_once=st.integers(1, 5))
def test_the_digest_of_clips_is_that_of_their_list(cells: list[tuple[str, str | None]], at_once: int) -> None:
    clips = [clip(f"{number:02}", *each) for number, each in enumerate(cells)]
    listed = sorted((content, label or "") for content, label in cells)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "ROWS_AT_ONCE", at_once)
        columns = in_columns(clips, Clip)
        assert [pair for block in in_order(columns, "sha256", "label") for pair in block] == listed
        assert clips_digest(columns) == clips_digest(clips) == sha256(json.dumps(listed).encode()).hexdigest()


@given(ENTRIES)
def test_the_digest_of_flow_is_that_of_its_list(entries: list[FlowEntry]) -> None:
    listed = sorted((each.clip_id, each.path) for each in entries)
    of_list = sha256(json.dumps([20.0, listed]).encode()).hexdigest()
    plain = {each.clip_id: each for each in entries}
    for mapping in (plain, by_id(in_columns(entries, FlowEntry))):
        assert flow_digest(FlowSet(20.0, mapping, "")) == of_list


def _last_of(rows: Rows[FlowEntry]) -> FlowEntry:
    return rows[-1]


def test_mapped_rows_travel_to_a_process_without_being_copied() -> None:
    rows = in_columns([entry(f"{number:05}", path="x" * 100) for number in range(3_000)], FlowEntry, mapped=True)
    few = rows[-2:]
    assert len(pickle.dumps(few)) < 2_000
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_last_of, (few,)) == rows[-1]


def test_a_set_that_was_loaded_is_saved_as_it_was(tmp_path: Path) -> None:
    clips = [clip(name, label=None if name == "b" else "x", status=Status.SHORT) for name in "cab"]
    ClipSet(("x",), clips, "/media").save(tmp_path / "set")
    loaded = ClipSet.load(tmp_path / "set")
    loaded.save(tmp_path / "again")
    assert loaded.clips == sorted(clips, key=lambda each: each.clip_id)
    for name in ("manifest.parquet", "clipset.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "set" / name).read_bytes()


@pytest.mark.parametrize(
    ("columns", "rows", "length", "words"),
    [
        (["reason"], 6_000, 60_000, "of a block of rows"),
        (["group", "source", "reason", "sha256", "label"], 15_000, 4_900, "of a block of rows"),
        (["reason"], 3 * 2**16, 1_800, "of all rows"),
    ],
)
def test_a_few_bytes_that_stand_for_much_text_are_refused(
    tmp_path: Path, columns: list[str], rows: int, length: int, words: str
) -> None:
    ClipSet(("x",), [clip("a")], "/media").save(tmp_path)
    table = pq.read_table(tmp_path / CLIP_FILES.index).take(np.zeros(rows, dtype=np.int64))
    repeated = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * length]))
    for column in columns:
        table = table.set_column(table.schema.get_field_index(column), column, repeated)
    pq.write_table(table, tmp_path / CLIP_FILES.index)
    assert (tmp_path / CLIP_FILES.index).stat().st_size < 100_000
    with pytest.raises(KineflowError, match=f"texts {words} take more than 335544320 bytes"):
        ClipSet.load(tmp_path)
