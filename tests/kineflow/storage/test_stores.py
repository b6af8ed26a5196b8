"""Where media are written: whole or absent, and never one thing in the place of another."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kineflow.storage.client import s3_client
from kineflow.storage.errors import KineflowError
from kineflow.storage.ranges import StorageError
from kineflow.storage.stores import LocalStore, RemoteStore
from tests.cutting_proxy import CuttingProxy, cutting_proxy
from tests.swift import Swift


@pytest.fixture(autouse=True)
def server(swift: Swift, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in swift.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def bucket(swift: Swift) -> str:
    return swift.make_bucket()


@pytest.fixture(scope="module")
def client(swift: Swift) -> Any:
    return swift.client()


@pytest.fixture
def root(bucket: str) -> str:
    return f"s3://{bucket}/{uuid.uuid4()}/v 1"


def keys(client: Any, root: str) -> dict[str, int]:
    """Sizes of all objects below the root's parent."""
    _, _, bucket, above, _ = root.split("/")
    listed = client.list_objects_v2(Bucket=bucket, Prefix=f"{above}/").get("Contents", [])
    return {item["Key"].removeprefix(f"{above}/"): item["Size"] for item in listed}


def make(store: RemoteStore | LocalStore, path: str, content: bytes) -> None:
    store.work_path(path).parent.mkdir(parents=True, exist_ok=True)
    store.work_path(path).write_bytes(content)


def test_a_folder_holds_what_is_written(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    assert not store.has("g/a.mp4")
    make(store, "g/a.mp4", b"123")
    store.publish("g/a.mp4")
    assert store.has("g/a.mp4")
    assert store.size_of("g/a.mp4") == 3
    with pytest.raises(KineflowError, match="outside"):
        store.work_path("../a.mp4")


def test_a_prefix_holds_what_is_published_and_the_work_folder_does_not(client: Any, root: str, tmp_path: Path) -> None:
    store = RemoteStore(f"{root}/", tmp_path / "work")
    assert store.root == root
    make(store, "g/ü.mp4", b"12345")
    assert keys(client, root) == {}
    store.publish("g/ü.mp4")
    assert keys(client, root) == {"v 1/g/ü.mp4": 5}
    assert not store.work_path("g/ü.mp4").exists()
    for other in (store, RemoteStore(root, tmp_path / "elsewhere")):
        assert other.has("g/ü.mp4")
        assert other.size_of("g/ü.mp4") == 5
        assert not other.has("g")


def test_what_a_killed_run_had_finished_is_uploaded_by_the_next(client: Any, root: str, tmp_path: Path) -> None:
    make(RemoteStore(root, tmp_path), "a.mp4", b"123")
    assert RemoteStore(root, tmp_path).has("a.mp4")
    assert keys(client, root) == {"v 1/a.mp4": 3}


def test_the_same_again_is_not_uploaded_and_another_is_refused(client: Any, root: str, tmp_path: Path) -> None:
    for _ in range(2):
        store = RemoteStore(root, tmp_path)
        make(store, "a.mp4", b"123")
        store.publish("a.mp4")
    (key,) = keys(client, root)
    place = {"Bucket": root.split("/")[2], "Key": f"{root.split('/')[3]}/{key}"}
    written = client.head_object(**place)["LastModified"]
    make(store, "a.mp4", b"321")
    with pytest.raises(KineflowError, match="another object of this name"):
        store.publish("a.mp4")
    assert client.head_object(**place)["LastModified"] == written
    assert client.get_object(**place)["Body"].read() == b"123"


@pytest.mark.parametrize("path", ["../a.mp4", "/a.mp4", "a/../../b.mp4", ""])
def test_no_path_leads_out_of_the_prefix(root: str, tmp_path: Path, path: str) -> None:
    with pytest.raises(KineflowError, match="outside"):
        RemoteStore(root, tmp_path).publish(path)


def test_more_objects_than_a_page_are_all_known(
    client: Any, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        client.put_object(Bucket=root.split("/")[2], Key=f"{root.split('/', 3)[3]}/{number}.mp4", Body=b"x")
    original = s3_client()._make_api_call

    def two_a_page(name: str, asked: dict[str, object]) -> object:
        return original(name, {**asked, "MaxKeys": 2} if name == "ListObjectsV2" else asked)

    monkeypatch.setattr(s3_client(), "_make_api_call", two_a_page)
    store = RemoteStore(root, tmp_path)
    assert all(store.has(f"{number}.mp4") for number in range(5))


class TestBadNetwork:
    @pytest.fixture
    def proxy(self, swift: Swift, monkeypatch: pytest.MonkeyPatch) -> Iterator[CuttingProxy]:
        with cutting_proxy(swift.endpoint_url) as proxy:
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint_url)
            yield proxy

    def test_an_upload_that_fails_leaves_no_object_and_keeps_the_work(
        self, client: Any, root: str, tmp_path: Path, proxy: CuttingProxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("kineflow.storage.client._ATTEMPTS", 1)
        store = RemoteStore(root, tmp_path)
        make(store, "a.mp4", bytes(10**6))
        proxy.cut_after(sent=200_000, stay_down=True)
        with pytest.raises(StorageError, match=r"a\.mp4"):
            store.publish("a.mp4")
        assert keys(client, root) == {}
        proxy.mend()
        assert store.has("a.mp4")
        assert keys(client, root) == {"v 1/a.mp4": 10**6}
