"""Tables are read as they were written, and refused before anything is decoded where they would unfold to too much."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kineflow.storage.parquet import open_table

ROWS = 300
TEXTS = [f"clip {number % 7}" for number in range(ROWS)]
LISTS = np.arange(ROWS * 4, dtype=np.float32).reshape(ROWS, 4)


def write(path: Path, columns: dict[str, Any] | None = None, **options: Any) -> Path:
    columns = columns or {
        "text": pa.array(TEXTS),
        "maybe": pa.array([None if number % 3 else "x" for number in range(ROWS)]),
        "number": pa.array(range(ROWS), pa.int64()),
        "list": pa.array(list(LISTS), pa.list_(pa.float32())),
    }
    pq.write_table(pa.table(columns).replace_schema_metadata({"k": "v"}), path, **options)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"row_group_size": 17},
        {"use_dictionary": False},
        {"compression": "zstd", "data_page_version": "2.0"},
        {"data_page_size": 64, "version": "1.0"},
        {"use_dictionary": False, "use_byte_stream_split": ["list"]},
    ],
    ids=str,
)
def test_a_table_is_read_as_it_was_written(tmp_path: Path, options: dict[str, Any]) -> None:
    with open_table(write(tmp_path / "t", **options), texts=["text", "maybe"], max_values=ROWS * 4) as table:
        assert (table.rows, table.metadata[b"k"]) == (ROWS, b"v")
        assert table.texts("text") == TEXTS
        assert table.texts("maybe", nullable=True) == [None if number % 3 else "x" for number in range(ROWS)]
        assert table.numbers("number", np.int32).tolist() == list(range(ROWS))
        assert np.array_equal(table.matrix("list", 4), LISTS)


def test_a_table_without_rows(tmp_path: Path) -> None:
    columns = {"text": pa.array([], pa.string()), "list": pa.array([], pa.list_(pa.float32()))}
    with open_table(write(tmp_path / "t", columns), texts=["text"]) as table:
        assert (table.texts("text"), table.matrix("list", 5).shape) == ([], (0, 5))


def repeated(count: int, text: str) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([text]))


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"text": repeated(1_000_001, "x" * 1000)}, {}, "1000001 rows; at most"),
        (
            {"text": pa.array(["x" * 2**21] * 17)},
            {"use_dictionary": False, "compression": "zstd"},
            "a page of .* bytes",
        ),
        ({"text": pa.array(["x" * 70_000])}, {}, "a text of more than 65536 bytes"),
        (
            {"list": pa.ListArray.from_arrays(pa.array([0, 2_000_000], pa.int32()), pa.array(np.zeros(2_000_000)))},
            {},
            "2000000 values in a column; at most",
        ),
        (
            {"text": pa.array(["x" * 60_000 + str(number) for number in range(200)])},
            {"use_dictionary": False, "column_encoding": "DELTA_BYTE_ARRAY"},
            "coded in a way",
        ),
    ],
    ids=["rows", "page", "text", "list", "shared prefixes"],
)
def test_what_would_unfold_to_too_much_is_refused(
    tmp_path: Path, columns: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "t", columns, **options)
    with pytest.raises(ValueError, match=message), open_table(path, texts=["text"]) as table:
        table.texts("text")


def test_the_footers_word_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "t"
    write(path, {"text": repeated(70_000, "x")}, compression="none")
    content = path.read_bytes()
    count, few = b"\x16\xe0\xc5\x08", b"\x16\x82\x80\x00"  # 70,000 and 1 as Thrift writes them, in as many bytes
    assert content.count(count) >= 3
    path.write_bytes(content.replace(count, few))
    with pytest.raises(ValueError, match="has 70000 values in a group of 1 rows"), open_table(path, texts=["text"]):
        pass


@pytest.mark.parametrize(
    ("columns", "read", "message"),
    [
        ({"a": pa.array([1])}, lambda table: table.texts("a"), "not texts"),
        ({"a": pa.array(["x"])}, lambda table: table.numbers("a", np.int32), "not int32"),
        ({"a": pa.array([1.5])}, lambda table: table.numbers("a", np.int32), "not int32"),
        ({"a": pa.array([2**40])}, lambda table: table.numbers("a", np.int32), "not in range"),
        ({"a": pa.array([None, 1])}, lambda table: table.numbers("a", np.int32), "lacks 1 values"),
        ({"a": pa.array([None, "x"])}, lambda table: table.texts("a"), "lacks 1 values"),
        ({"a": pa.array([[1.0], [2.0, 3.0, 4.0]])}, lambda table: table.matrix("a", 2), "has not 2 numbers"),
        ({"a": pa.array([[1.0]])}, lambda table: table.matrix("a", 2), "1 numbers, not 1 lists of 2"),
        ({"a": pa.array([[1.0, None]])}, lambda table: table.matrix("a", 2), "has not 2 numbers"),
        ({"a": pa.array(["x"])}, lambda table: table.texts("b"), "no column 'b'; there are 'a'"),
    ],
)
def test_what_is_not_in_a_column_is_said(tmp_path: Path, columns: dict[str, Any], read: Any, message: str) -> None:
    path = write(tmp_path / "t", columns)
    with pytest.raises(ValueError, match=message), open_table(path, texts=[]) as table:
        read(table)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\0" * 20 + b"PAR1", b"x" * 100])
def test_other_files_are_no_tables(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(ValueError), open_table(tmp_path / "t", texts=[]):
        pass


def test_a_text_that_is_not_in_the_dictionary(tmp_path: Path) -> None:
    path = write(tmp_path / "t", {"text": pa.array(["a", "b", "c"])}, compression="none")
    content = path.read_bytes()
    numbers = b"\x02\x03\x24"  # two bits each, eight packed together: 0, 1, 2
    assert content.count(numbers) == 1
    path.write_bytes(content.replace(numbers, b"\x02\x03\x3c"))  # 0, 3, 3
    with pytest.raises(ValueError, match="damaged"), open_table(path, texts=["text"]) as table:
        table.texts("text")
