"""Objects read by range, on a real S3 server: the right bytes, few requests, and every way of going wrong."""

from __future__ import annotations

import hashlib
import multiprocessing
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from kineflow.storage import ranges
from kineflow.storage.cache import BlockCache
from kineflow.storage.errors import KineflowError
from kineflow.storage.ranges import RangeReader, StorageError, Traffic, traffic
from tests.cutting_proxy import CuttingProxy, cutting_proxy
from tests.swift import Swift

pytestmark = pytest.mark.slow

BLOCK = 64 * 1024
BLOCKS = 40
CONTENT = random.Random(0).randbytes((BLOCKS - 1) * BLOCK + 1234)


@pytest.fixture(scope="module")
def uri(swift: Swift) -> str:
    bucket = swift.make_bucket()
    swift.client().put_object(Bucket=bucket, Key="a b/ü+%.mp4", Body=CONTENT)
    return f"s3://{bucket}/a b/ü+%.mp4"


@pytest.fixture(autouse=True)
def server(swift: Swift, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in swift.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def cache(tmp_path: Path) -> BlockCache:
    return BlockCache(tmp_path / "cache", 100 * 10**6)


def opened(uri: str, cache: BlockCache) -> RangeReader:
    return RangeReader(uri, cache=cache, block_bytes=BLOCK)


def test_every_part_is_that_of_the_object(uri: str, cache: BlockCache) -> None:
    places = random.Random(1)
    with opened(uri, cache) as file:
        for _ in range(60):
            start, size = places.randrange(len(CONTENT)), places.choice([1, 1000, BLOCK, 3 * BLOCK])
            file.seek(start)
            content = b""
            while len(content) < size and (part := file.read(size - len(content))):
                content += part
            assert content == CONTENT[start : start + size]
        assert file.seek(0, 2) == file.size == len(CONTENT)
        assert file.read(10) == b""
        assert file.seek(-4, 1) == len(CONTENT) - 4
        assert file.read() == CONTENT[-4:]
        with pytest.raises(ValueError, match="before the start"):
            file.seek(-1)


def test_a_small_part_costs_a_small_part(uri: str, cache: BlockCache) -> None:
    before = traffic()
    with opened(uri, cache) as file:
        for start in (0, 10 * BLOCK + 5, 20 * BLOCK):
            file.seek(start)
            assert file.read(100) == CONTENT[start : start + 100]
    assert traffic() - before == Traffic(requests=3, received_bytes=4 * BLOCK)


def test_a_second_reader_asks_nothing(uri: str, cache: BlockCache) -> None:
    with opened(uri, cache) as file:
        first = hashlib.file_digest(file, "sha256")
    before = traffic()
    with opened(uri, cache) as file:
        assert hashlib.file_digest(file, "sha256").digest() == first.digest() == hashlib.sha256(CONTENT).digest()
    assert traffic() - before == Traffic(cached_blocks=BLOCKS)


def test_requests_grow_where_reading_goes_on(uri: str, cache: BlockCache) -> None:
    before = traffic()
    with opened(uri, cache) as file:
        assert file.readall() == CONTENT
    assert traffic() - before == Traffic(requests=3 + (BLOCKS - 8) // 8, received_bytes=len(CONTENT))


def test_blocks_that_are_there_are_not_fetched_again(uri: str, cache: BlockCache) -> None:
    with opened(uri, cache) as file:
        file.seek(6 * BLOCK)
        file.read(1)
    before = traffic()
    with opened(uri, cache) as file:
        assert file.readall() == CONTENT
    assert (traffic() - before).received_bytes == len(CONTENT) - 3 * BLOCK


def test_without_a_cache_it_works_as_well(uri: str, tmp_path: Path) -> None:
    nothing = BlockCache(tmp_path / "none", 0)
    for _ in range(2):
        with opened(uri, nothing) as file:
            assert file.readall() == CONTENT
    assert not (tmp_path / "none").exists()


def _read_some(uri: str, folder: Path, seed: int) -> bool:
    places, right = random.Random(seed), True
    for _ in range(12):
        with opened(uri, BlockCache(folder, 12 * BLOCK)) as file:
            start = places.randrange(len(CONTENT) - 1000)
            file.seek(start)
            part = file.read(500)
            right = right and CONTENT[start : start + len(part)] == part and len(part) > 0
    return right


def test_workers_share_a_cache_that_is_too_small_for_them(uri: str, tmp_path: Path) -> None:
    # Forked from a process that has read already, as workers of data loaders are.
    assert _read_some(uri, tmp_path, 9)
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.starmap(_read_some, [(uri, tmp_path, seed) for seed in range(3)]) == [True] * 3
    assert BlockCache(tmp_path, 0).used_bytes() <= 12 * BLOCK


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1])
def test_objects_of_any_size(swift: Swift, cache: BlockCache, size: int) -> None:
    bucket = swift.make_bucket()
    swift.client().put_object(Bucket=bucket, Key="k", Body=CONTENT[:size])
    for _ in range(2):
        with opened(f"s3://{bucket}/k", cache) as file:
            assert file.readall() == CONTENT[:size]


class TestChange:
    @pytest.fixture
    def changing(self, swift: Swift) -> str:
        bucket = swift.make_bucket()
        swift.client().put_object(Bucket=bucket, Key="k", Body=CONTENT)
        return bucket

    @pytest.mark.parametrize("size", [len(CONTENT), 3 * BLOCK])
    def test_under_a_reader_is_an_error_and_no_mixture(
        self, swift: Swift, changing: str, cache: BlockCache, size: int
    ) -> None:
        other = CONTENT[::-1][:size]
        with opened(f"s3://{changing}/k", cache) as file:
            file.read(1)
            swift.client().put_object(Bucket=changing, Key="k", Body=other)
            file.seek(9 * BLOCK)
            with pytest.raises(StorageError, match=f"s3://{changing}/k: the object has changed") as caught:
                file.read(1)
            assert file.failure is caught.value
        with opened(f"s3://{changing}/k", cache) as file:
            assert file.readall() == other

    def test_between_two_readers_is_an_error_at_the_first_new_block(
        self, swift: Swift, changing: str, cache: BlockCache
    ) -> None:
        with opened(f"s3://{changing}/k", cache) as file:
            file.read(1)
        swift.client().put_object(Bucket=changing, Key="k", Body=CONTENT[::-1])
        with opened(f"s3://{changing}/k", cache) as file:
            assert file.read(1) == CONTENT[:1]
            file.seek(9 * BLOCK)
            with pytest.raises(StorageError, match="has changed"):
                file.read(1)

    def test_is_seen_after_an_hour(
        self, swift: Swift, changing: str, cache: BlockCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def first_byte() -> bytes:
            with opened(f"s3://{changing}/k", cache) as file:
                return file.read(1)

        assert first_byte() == CONTENT[:1]
        swift.client().put_object(Bucket=changing, Key="k", Body=CONTENT[::-1])
        assert first_byte() == CONTENT[:1]
        monkeypatch.setattr(ranges, "_TRUSTED_SEC", 0.0)
        assert first_byte() == CONTENT[-1:]

    def test_removal_is_named(self, swift: Swift, changing: str, cache: BlockCache) -> None:
        with opened(f"s3://{changing}/k", cache) as file:
            file.read(1)
            swift.client().delete_object(Bucket=changing, Key="k")
            file.seek(9 * BLOCK)
            with pytest.raises(KineflowError, match="no such object"):
                file.read(1)


class TestBadNetwork:
    @pytest.fixture
    def proxy(self, swift: Swift, monkeypatch: pytest.MonkeyPatch) -> Iterator[CuttingProxy]:
        monkeypatch.setattr(ranges, "_WAIT_SEC", 0.01)
        with cutting_proxy(swift.endpoint_url) as proxy:
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint_url)
            yield proxy

    def test_what_breaks_off_goes_on_from_there(self, uri: str, cache: BlockCache, proxy: CuttingProxy) -> None:
        before = traffic()
        with opened(uri, cache) as file:
            content = bytearray()
            while part := file.read(BLOCK):
                content += part
                if len(content) % (4 * BLOCK) == 0:
                    proxy.cut_after(received=BLOCK)
        assert content == CONTENT
        assert proxy.cuts >= 3
        assert (traffic() - before).received_bytes == len(CONTENT)  # nothing twice

    def test_requests_share_a_connection(self, uri: str, cache: BlockCache, proxy: CuttingProxy) -> None:
        with opened(uri, cache) as file:
            for number in range(0, BLOCKS, 4):
                file.seek(number * BLOCK)
                file.read(1)
        assert proxy.connections == 1

    def test_a_server_that_stays_away_is_an_error(
        self, uri: str, cache: BlockCache, proxy: CuttingProxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("kineflow.storage.client._ATTEMPTS", 1)
        with opened(uri, cache) as file:
            file.read(1)
            proxy.cut_after(received=1000, stay_down=True)
            file.seek(9 * BLOCK)
            with pytest.raises(StorageError, match="S3 failed") as caught:
                file.read(1)
        assert uri in str(caught.value)
        assert "testing" not in str(caught.value)
        proxy.mend()
        with opened(uri, cache) as file:
            assert file.readall() == CONTENT


@pytest.mark.parametrize(("key", "problem"), [("gone", "no such object"), ("", "no name of an object")])
def test_what_is_not_there(swift: Swift, cache: BlockCache, key: str, problem: str) -> None:
    with pytest.raises(KineflowError, match=problem), opened(f"s3://{swift.make_bucket()}/{key}", cache) as file:
        file.read(1)


def test_a_wrong_key_is_no_missing_object(uri: str, cache: BlockCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")
    with opened(uri, cache) as file, pytest.raises(StorageError, match="refused") as caught:
        file.read(1)
    assert "a-wrong-secret" not in str(caught.value)
