"""Sources: a folder, and S3 as a stand-in server speaks it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from kineflow.data.source import LocalSource, S3Source, open_source, read_text
from kineflow.storage.client import s3_client
from kineflow.storage.errors import KineflowError
from tests.cutting_proxy import CuttingProxy, cutting_proxy
from tests.swift import Swift

pytestmark = pytest.mark.slow

SECRETS = {"AWS_ACCESS_KEY_ID": "AKIDSECRETID", "AWS_SECRET_ACCESS_KEY": "verysecretkey"}
OBJECTS = ("set/b c.mp4", "set/a/ü.mp4", "set/.hidden/x.mp4", "settings.mp4", "set/folder/")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """Address of an S3 server in this process, with a bucket ``videos``."""
    pytest.importorskip("moto", reason="the S3 tests need moto[server]")
    import boto3
    from moto.server import ThreadedMotoServer

    with pytest.MonkeyPatch.context() as patch:
        for name, value in (SECRETS | {"AWS_DEFAULT_REGION": "us-east-1"}).items():
            patch.setenv(name, value)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
        client.create_bucket(Bucket="videos")
        for key in (*OBJECTS, *(f"many/{number:04d}.mp4" for number in range(5))):
            client.put_object(Bucket="videos", Key=key, Body=key.encode())
        yield f"http://{host}:{port}"
        server.stop()


def test_a_folder_lists_all_but_hidden_files(tmp_path: Path) -> None:
    for name in ("b.mp4", "a/c.mp4", ".x.mp4", ".hidden/d.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    source = open_source(str(tmp_path))
    assert (source.root, source.names()) == (str(tmp_path), ["a/c.mp4", "b.mp4"])
    with source.fetch("a/c.mp4") as path:
        assert path.read_text() == "a/c.mp4"


@pytest.mark.parametrize(
    ("name", "problem"), [("../b", "outside"), ("/b", "outside"), ("link", "outside"), ("no", "no such")]
)
def test_a_folder_gives_nothing_from_outside(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "b").write_text("secret")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "b")
    with pytest.raises(KineflowError, match=problem), LocalSource(tmp_path / "root").fetch(name):
        pass


@pytest.mark.parametrize(("root", "problem"), [("gone", "no such folder"), ("s3://", "names a bucket")])
def test_roots_that_are_none(root: str, problem: str) -> None:
    with pytest.raises(KineflowError, match=problem):
        open_source(root)


def test_text_is_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfpath")
    (tmp_path / "b.csv").write_bytes(b"path\xff")
    assert read_text(LocalSource(tmp_path), "a.csv") == "path"
    with pytest.raises(KineflowError, match=r"b\.csv: not UTF-8"):
        read_text(LocalSource(tmp_path), "b.csv")


def test_s3_lists_a_prefix(s3: str) -> None:
    source = open_source("s3://videos/set/", endpoint_url=s3)
    assert (source.root, source.names()) == ("s3://videos/set", ["a/ü.mp4", "b c.mp4"])


def test_s3_lists_every_page(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kineflow.data.source._KEYS_A_PAGE", 2)
    assert open_source("s3://videos/many", endpoint_url=s3).names() == [f"{number:04d}.mp4" for number in range(5)]
    assert len(open_source("s3://videos", endpoint_url=s3).names()) == 5 + 3


def test_s3_says_what_is_not_there(s3: str) -> None:
    source = open_source("s3://videos/set", endpoint_url=s3)
    assert [source.trouble(name) for name in ("b c.mp4", "B C.mp4", "gone.mp4", ".hidden/x.mp4")] == [
        "",
        "no such file in the source; there is 'b c.mp4'",
        "no such file in the source",
        "left out: a part of its path begins with a dot",
    ]


@pytest.mark.parametrize("key", ['it\'s "=1".mp4', "v." + "x" * 300, "a//b.mp4", "Vidéo.mp4", "日" * 300])
def test_s3_keys_are_any_names(s3: str, key: str) -> None:
    s3_client(s3).put_object(Bucket="videos", Key=f"odd/{key}", Body=b"content")
    source = open_source("s3://videos/odd", endpoint_url=s3)
    assert key in source.names()
    with source.fetch(key) as path:
        assert path.read_bytes() == b"content"


def test_s3_gives_whole_objects_and_cleans_up(s3: str) -> None:
    with open_source("s3://videos/set", endpoint_url=s3).fetch("a/ü.mp4") as path:
        assert path.read_text() == "set/a/ü.mp4"
        assert path.suffix == ".mp4"
    assert not path.parent.exists()


@pytest.mark.parametrize("name", ["../settings.mp4", "/settings.mp4", "gone.mp4"])
def test_s3_names_what_it_refuses(s3: str, name: str) -> None:
    with pytest.raises(KineflowError, match=r"outside|404") as caught, S3Source("videos", "set", s3).fetch(name):
        pass
    assert "s3://videos/set" in str(caught.value)


@pytest.mark.parametrize("failure", ["refused", "unreachable", "no credentials"])
def test_s3_messages_hold_no_credentials(
    s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failure: str
) -> None:
    endpoint, bucket = s3, "no-such-bucket" if failure == "refused" else "videos"
    if failure == "unreachable":
        endpoint = "http://127.0.0.1:9"
        monkeypatch.setattr("kineflow.storage.client._ATTEMPTS", 1)
    if failure == "no credentials":
        for name in SECRETS:
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(KineflowError) as caught:
        S3Source(bucket, "set", endpoint).names()
    assert f"s3://{bucket}/set" in str(caught.value)
    assert caught.value.remedy
    assert not any(secret in str(caught.value) for secret in SECRETS.values())
    assert caught.value.__suppress_context__


def test_a_full_temporary_disk_is_named(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    source = S3Source("videos", "set", s3)
    monkeypatch.setattr(s3_client(s3), "download_file", full)
    with pytest.raises(KineflowError, match="no space left"), source.fetch("b c.mp4"):
        pass


def test_credentials_in_an_address_are_refused_and_not_shown() -> None:
    with pytest.raises(KineflowError, match="credentials") as caught:
        open_source("s3://AKIDSECRETID:verysecretkey@videos/set")
    assert not any(secret in str(caught.value) for secret in SECRETS.values())


class TestRealServer:
    """What a stand-in may get right by chance, on a server of its own."""

    KEYS = (
        "a b.mp4",
        "a+b.mp4",
        "100%.mp4",
        "%20.mp4",
        "ü/日本.mp4",
        "a&b?c#d=e.mp4",
        "a//b.mp4",
        "x..y/z..mp4",
        "~.mp4",
    )
    HIDDEN = (".hidden.mp4", ".folder/x.mp4", "../up.mp4", "a/../../up.mp4")

    @pytest.fixture
    def bucket(self, swift: Swift, monkeypatch: pytest.MonkeyPatch) -> str:
        for name, value in swift.environment.items():
            monkeypatch.setenv(name, value)
        return swift.make_bucket()

    def test_unusual_keys_are_listed_and_fetched(self, swift: Swift, bucket: str) -> None:
        client = swift.client()
        for key in (*self.KEYS, *self.HIDDEN):
            client.put_object(Bucket=bucket, Key=f"raw videos/{key}", Body=key.encode())
        source = open_source(f"s3://{bucket}/raw videos/")
        assert source.names() == sorted(self.KEYS)
        for key in self.KEYS:
            with source.fetch(key) as path:
                assert path.read_bytes() == key.encode()

    @pytest.fixture
    def proxy(self, swift: Swift, bucket: str) -> Iterator[CuttingProxy]:
        with cutting_proxy(swift.endpoint_url) as proxy:
            yield proxy

    @pytest.mark.parametrize("size", [3_000_000, 20_000_000], ids=["in one piece", "in parts"])
    def test_a_download_that_breaks_off_is_taken_up_again(
        self, swift: Swift, bucket: str, proxy: CuttingProxy, size: int
    ) -> None:
        content = bytes(range(250)) * (size // 250)
        swift.client().put_object(Bucket=bucket, Key="raw/a.mp4", Body=content)
        proxy.cut_after(received=size // 2)
        with open_source(f"s3://{bucket}/raw", endpoint_url=proxy.endpoint_url).fetch("a.mp4") as path:
            assert path.read_bytes() == content
        assert proxy.cuts == 1

    def test_a_server_that_stays_away_is_an_error_and_leaves_nothing(
        self,
        swift: Swift,
        bucket: str,
        proxy: CuttingProxy,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        monkeypatch.setattr("kineflow.storage.client._ATTEMPTS", 1)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        swift.client().put_object(Bucket=bucket, Key="raw/a.mp4", Body=bytes(10**6))
        source = open_source(f"s3://{bucket}/raw", endpoint_url=proxy.endpoint_url)
        proxy.cut_after(received=200_000, stay_down=True)
        with pytest.raises(KineflowError, match="S3 failed") as caught, source.fetch("a.mp4"):
            pass
        assert f"s3://{bucket}/raw/a.mp4" in str(caught.value)
        assert "testing" not in str(caught.value)
        assert list(tmp_path.iterdir()) == []
