"""Hostile inputs by the thousand: each is read or refused in words, within a gigabyte and ten CPU seconds.

``make test-long`` tries 300 of each format; ``KINEFLOW_FUZZ_INPUTS=10000 .venv/bin/python -m pytest -m long tests/fuzz
-s`` tries ten thousand, and prints the figures. A failing input is left in a folder, which is named.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from tests.fuzz import seeds
from tests.fuzz.harness import INPUTS, Files, Fuzzer
from tests.fuzz.mutations import hostile_values, mutated, with_hostile_values

pytestmark = pytest.mark.long

Run = Callable[[str, Files, st.SearchStrategy[Files]], None]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Have many inputs read, and print the figures."""

    def many(target: str, good: Files, inputs: st.SearchStrategy[Files]) -> None:
        fuzzer = Fuzzer(target, tmp_path / "fuzz", good)

        @settings(
            max_examples=INPUTS,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(inputs)
        def one(files: Files) -> None:
            fuzzer.check(files)

        try:
            one()
        finally:
            figures = fuzzer.close()
            with capsys.disabled():
                print(f"\n{figures}")  # noqa: T201

    return many


def one_changed(files: Files, changed: Callable[[str, bytes], st.SearchStrategy[bytes]]) -> st.SearchStrategy[Files]:
    """The files, one of them changed."""
    return st.sampled_from(sorted(files)).flatmap(
        lambda name: changed(name, files[name]).map(lambda content: {**files, name: content})
    )


def bytes_changed(_: str, content: bytes) -> st.SearchStrategy[bytes]:
    return mutated([content])


def values_changed(name: str, content: bytes) -> st.SearchStrategy[bytes]:
    if not name.endswith(".json"):
        return mutated([content])
    return with_hostile_values(json.loads(content)).map(seeds.as_json)


def tables_changed(name: str, content: bytes) -> st.SearchStrategy[bytes]:
    if not name.endswith(".parquet"):
        return with_hostile_values(json.loads(content)).map(seeds.as_json)
    return seeds.hostile_tables(content)


def test_sets(run: Run, tmp_path: Path) -> None:
    goods = seeds.good_sets(tmp_path / "good")
    kinds = [one_changed(good, change) for good in goods for change in (bytes_changed, values_changed, tables_changed)]
    run("sets", goods[0], st.one_of(kinds))


def test_scores(run: Run, tmp_path: Path) -> None:
    good = seeds.good_scores(tmp_path)
    run("scores", good, one_changed(good, bytes_changed) | one_changed(good, tables_changed))


def test_bundles(run: Run, tmp_path: Path) -> None:
    good = seeds.good_bundle(tmp_path / "good")
    card = with_hostile_values(seeds.card_of(good)).map(lambda value: {**good, "model.json": seeds.as_json(value)})
    run("bundle", good, card | card | one_changed(good, bytes_changed))


def test_checkpoints(run: Run) -> None:
    goods = seeds.good_checkpoints()
    run("checkpoint", goods[0], st.one_of([one_changed(good, bytes_changed) for good in goods]))


def test_weights_of_other_frameworks(run: Run, tmp_path: Path) -> None:
    goods = seeds.good_foreign(tmp_path / "good")
    run("foreign", goods[0], st.one_of([one_changed(good, bytes_changed) for good in goods]))


def test_params(run: Run) -> None:
    import yaml

    text = (ROOT / "params.yaml").read_bytes()
    values = yaml.safe_load(text)
    words = [b"[", b"{", b"- ", b"? ", b": ", b"&a ", b"*a", b"!!binary ", b"<<: ", b"|\n", b"'", b'"', b"\n", b"  ",
             b"2024-01-01", b"1:30", b"9" * 400, b"!x ", b"%YAML 9.9\n", b"---\n", b"...\n", b"\t", b"#",
             b"seed: "]  # fmt: skip
    soup = st.lists(st.sampled_from(words), max_size=200).map(b"".join)
    contents = st.one_of(
        mutated([text]),
        with_hostile_values(values).map(lambda value: yaml.safe_dump(value).encode("utf-8", "surrogatepass")),
        soup,
        st.tuples(soup, st.integers(0, len(text))).map(lambda made: text[: made[1]] + made[0] + text[made[1] :]),
        st.tuples(st.sampled_from(words), st.integers(1, 100_000)).map(lambda made: made[0] * made[1]),
    )
    run("params", {"params.yaml": text}, contents.map(lambda content: {"params.yaml": content}))


def test_lists(run: Run) -> None:
    goods = seeds.good_lists()
    cells = hostile_values.map(str) | st.sampled_from(
        ["a/1", "x", "1", "1e308", "-0", "nan", '"', ",", "\n", "\r", "\0"]
    )
    tables = st.lists(st.lists(cells, max_size=6).map(",".join), max_size=8).map("\n".join)

    def rows_added(_: str, content: bytes) -> st.SearchStrategy[bytes]:
        return tables.map(lambda table: content + table.encode("utf-8", "surrogatepass"))

    kinds = [one_changed(good, change) for good in goods for change in (bytes_changed, values_changed, rows_added)]
    run("lists", goods[0], st.one_of(kinds))


def test_layouts(run: Run) -> None:
    goods = seeds.good_layouts()
    words = [b"1e308", b"nan", b".", b"..", b"../..", b"/", b"\0", b'"', b",", b"\n", b"\r", b"=1", b"\xff",
             b"\\", b"C:\\x", b"s3://b/x", b"9" * 400, b"x" * 300, b"\xe2\x80\xa8", b"train", b"e\xcc\x81"]  # fmt: skip

    def words_added(_: str, content: bytes) -> st.SearchStrategy[bytes]:
        places = st.tuples(st.integers(0, len(content)), st.sampled_from(words), st.integers(0, 8))
        return places.map(lambda put: content[: put[0]] + put[1] + content[put[0] + put[2] :])

    run(
        "layouts",
        goods[0],
        st.one_of([one_changed(good, how) for good in goods for how in (bytes_changed, words_added)]),
    )


def test_videos(run: Run) -> None:
    goods = seeds.good_videos()
    run("video", goods[0], st.one_of([one_changed(good, bytes_changed) for good in goods]))
