"""The search finds a secret in every form: what it does not find is not there."""

from __future__ import annotations

import base64
import gzip
import json
import sqlite3
import zipfile
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.secret_search import found_below, found_in

SECRET = "planted/Secret+7f3a9c"


def as_database(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("create table runs (note text)")
        database.execute("insert into runs values (?)", ["x" * 4050 + SECRET + "y" * 9000])


def as_parquet(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"source": [f"s3://{SECRET}@bucket"] * 50}), path, compression="zstd")


def as_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("inner.txt", SECRET * 20)


WAYS = {
    "plain": lambda path: path.write_text(f"key={SECRET}\n"),
    "json": lambda path: path.write_text(json.dumps({"environment": {"KEY": SECRET}})),
    "in a URL": lambda path: path.write_text(f"http://ann:{quote(SECRET, safe='')}@host"),
    "base64 at 0": lambda path: path.write_bytes(base64.b64encode(f"{SECRET}:x".encode())),
    "base64 at 1": lambda path: path.write_bytes(base64.b64encode(f"a{SECRET}:x".encode())),
    "base64 at 2": lambda path: path.write_bytes(base64.b64encode(f"ab{SECRET}".encode())),
    "gzip": lambda path: path.write_bytes(gzip.compress(SECRET.encode() * 20)),
    "zip": as_zip,
    "sqlite": as_database,
    "parquet": as_parquet,
    "name of a file": lambda path: (path.parent / SECRET.replace("/", "%2F").replace("+", "%2B")).touch(),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_planted_secret_is_found(tmp_path: Path, way: str) -> None:
    WAYS[way](tmp_path / "left-behind")

    hits = found_below(tmp_path, ["another/Secret+0000", SECRET])

    assert list(hits.values()) == [[SECRET]]


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    for number, way in enumerate(WAYS.values()):
        (tmp_path / str(number)).mkdir()
        way(tmp_path / str(number) / "left-behind")
    assert found_below(tmp_path, ["another/Secret+0000"]) == {}
    assert found_in(b"nothing", [SECRET]) == []
