"""The bounded folder of blocks: what is kept, what makes room, and many processes at once."""

from __future__ import annotations

import logging
import multiprocessing
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kineflow.storage.cache import DEFAULT_LIMIT_MB, FOLDER, LIMIT_MB, BlockCache, default_cache
from kineflow.storage.errors import KineflowError

KB = 1000


def pieces(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.parent != folder]


def test_what_is_put_is_there_for_everybody(tmp_path: Path) -> None:
    BlockCache(tmp_path / "c", 100 * KB).put("s3://b/k etag 0", b"block")
    other = BlockCache(tmp_path / "c", 100 * KB)
    assert other.get("s3://b/k etag 0") == b"block"
    assert other.has("s3://b/k etag 0")
    assert other.get("s3://b/k etag 1") is None
    assert stat.S_IMODE((tmp_path / "c").stat().st_mode) == 0o700
    other.drop("s3://b/k etag 0")
    assert not other.has("s3://b/k etag 0")


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
def test_damaged_pieces_are_not_given(tmp_path: Path, damage: str) -> None:
    cache = BlockCache(tmp_path, 100 * KB)
    cache.put("a", b"0123456789")
    (path,) = pieces(tmp_path)
    content = path.read_bytes()
    path.write_bytes({"cut": content[:-3], "flipped": b"X" + content[1:], "emptied": b""}[damage])
    assert cache.get("a") is None
    cache.put("a", b"0123456789")
    assert cache.get("a") == b"0123456789"


def test_the_least_recently_used_make_room(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 40 * KB)
    for number in range(8):
        cache.put(f"{number}", bytes(4000))
        os.utime(cache._path(f"{number}"), (number, number))
    assert cache.get("0") is not None  # the oldest, and used again
    cache.put("8", bytes(4000))
    cache.put("9", bytes(4000))
    assert cache.has("0")
    assert not cache.has("1")
    assert cache.has("9")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(0, 30 * KB), max_size=30), limit=st.integers(0, 60 * KB))
def test_the_bound_holds_whatever_is_put(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], limit: int
) -> None:
    cache = BlockCache(tmp_path_factory.mktemp("cache"), limit)
    for number, size in enumerate(sizes):
        cache.put(f"{number % 20}", bytes(size))
        assert cache.used_bytes() <= limit
        if size + 8192 < limit:
            assert cache.get(f"{number % 20}") == bytes(size)


def test_a_lost_count_is_counted_again(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 40 * KB)
    for number in range(8):
        cache.put(f"{number}", bytes(4000))
    (tmp_path / "used").write_text("")
    for number in range(8, 40):
        cache.put(f"{number}", bytes(4000))
        assert cache.used_bytes() <= 40 * KB


def test_what_killed_programs_left_is_removed_in_the_end(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 20 * KB)
    cache.put("a", bytes(4000))
    (path,) = pieces(tmp_path)
    old, new = path.parent / ".x-1.partial", path.parent / ".x-2.partial"
    for partial in (old, new):
        partial.write_bytes(b"half")
    os.utime(old, (0, 0))
    for number in range(6):
        cache.put(f"{number}", bytes(4000))
    assert not old.exists()


def _use(folder: Path, seed: int) -> int:
    """Put and get pieces that others use too; gives how many came back wrong."""
    cache, wrong = BlockCache(folder, 200 * KB), 0
    for step in range(150):
        name = f"{(seed + step) * 7 % 80}"
        content = name.encode() * 2000
        found = cache.get(name)
        wrong += found is not None and found != content
        if found is None:
            cache.put(name, content)
    return wrong


@pytest.mark.slow
def test_processes_share_it_without_a_lock_on_reading(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.starmap(_use, [(tmp_path, seed) for seed in (0, 1, 40)]) == [0, 0, 0]
    assert BlockCache(tmp_path, 0).used_bytes() <= 200 * KB
    assert not [path for path in pieces(tmp_path) if path.name.startswith(".")]


def test_a_folder_that_takes_nothing_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    cache = BlockCache(tmp_path / "file" / "cache", 100 * KB)
    with caplog.at_level(logging.WARNING):
        cache.put("a", b"1")
        cache.put("b", b"1")
    assert cache.get("a") is None
    assert caplog.text.count("not cached") == 1


def test_what_another_user_has_put_there_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    BlockCache(tmp_path, 100 * KB).put("a", b"1")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    cache = BlockCache(tmp_path, 100 * KB)
    assert cache.get("a") is None
    cache.put("b", b"1")
    assert not cache.has("b")


def test_nothing_is_kept_where_the_bound_is_nothing(tmp_path: Path) -> None:
    BlockCache(tmp_path / "c", 0).put("a", b"1")
    assert not (tmp_path / "c").exists()


class TestEnvironment:
    @pytest.fixture(autouse=True)
    def nothing_set(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in (FOLDER, LIMIT_MB, "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))

    def test_names_folder_and_bound(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv(FOLDER, str(tmp_path / "c"))
        monkeypatch.setenv(LIMIT_MB, "3")
        assert (default_cache().folder, default_cache().limit_bytes) == (tmp_path / "c", 3_000_000)

    def test_says_nothing(self, tmp_path: Path) -> None:
        assert default_cache().folder == tmp_path / ".cache" / "kineflow"
        assert default_cache().limit_bytes == DEFAULT_LIMIT_MB * 10**6

    def test_has_a_cache_folder(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
        assert default_cache().folder == tmp_path / "x" / "kineflow"

    def test_has_no_home(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("HOME", "/proc/none")
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        assert default_cache().folder == tmp_path / f"kineflow-cache-{os.getuid()}"  # the same in every process

    @pytest.mark.parametrize("value", ["-1", "many", "1.5", "1e3", "²"])
    def test_makes_no_sense(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv(LIMIT_MB, value)
        with pytest.raises(KineflowError, match=LIMIT_MB):
            default_cache()
