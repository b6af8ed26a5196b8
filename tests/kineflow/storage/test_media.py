"""Roots and places of media, local and on S3."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kineflow.storage.errors import KineflowError
from kineflow.storage.media import RemoteFile, check_root, digest_of, locate
from kineflow.storage.ranges import traffic
from kineflow.storage.upload import upload_file
from tests.swift import Swift

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("root", "kept"),
    [
        ("", ""),
        ("clips", "clips"),
        ("/volume/a b", "/volume/a b"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://bucket/a/b c/", "s3://bucket/a/b c"),
    ],
)
def test_roots_are_folders_and_prefixes(root: str, kept: str) -> None:
    assert check_root(root) == kept


@pytest.mark.parametrize(
    "root", ["gs://bucket", "http://host/x", "file:///data", "s3://", "s3:///key", "s3://b/../c", "s3://b/a//c"]
)
def test_other_roots_are_refused(root: str) -> None:
    with pytest.raises(KineflowError):
        check_root(root)


def test_credentials_in_a_root_are_refused_and_not_shown() -> None:
    with pytest.raises(KineflowError, match="credentials") as caught:
        locate("s3://AKID:verysecret@bucket/clips", "a.mp4")
    assert "verysecret" not in str(caught.value)
    assert "AKID" not in str(caught.value)


@pytest.mark.parametrize("path", ["a.mp4", "g/ü +%20.mp4", ".hidden/a..b.mp4"])
def test_places_lie_below_their_root(tmp_path: Path, path: str) -> None:
    assert str(locate("s3://bucket/clips/", path)) == f"s3://bucket/clips/{path}"
    assert locate(str(tmp_path), path) == tmp_path / path


@pytest.mark.parametrize("path", ["", "..", "../x", "a/../../x", "a//b", "/a", "a/./b", "a/", "a\0b", "a\nb"])
def test_places_never_lead_out_of_a_prefix(path: str) -> None:
    with pytest.raises(KineflowError, match="leads outside its root"):
        locate("s3://bucket/clips", path)


@given(st.text(max_size=12))
def test_what_is_located_is_below_the_prefix_for_every_reader_of_addresses(path: str) -> None:
    try:
        media = locate("s3://bucket/clips", path)
    except KineflowError:
        return
    assert isinstance(media, RemoteFile)
    parts = media.uri.split("/")
    assert parts[:4] == ["s3:", "", "bucket", "clips"]
    assert not {"", ".", ".."} & set(parts[4:])


def test_a_remote_file_travels_to_workers() -> None:
    file = RemoteFile("s3://bucket/a.mp4")
    assert pickle.loads(pickle.dumps(file)) == file
    assert (file.name, file.is_dir()) == ("a.mp4", False)


class TestDigest:
    @pytest.fixture(autouse=True)
    def server(self, swift: Swift, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name, value in swift.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("KINEFLOW_CACHE_DIR", str(tmp_path / "cache"))

    def test_is_that_of_the_bytes_and_read_only_where_nobody_has_told(self, swift: Swift, tmp_path: Path) -> None:
        bucket, content = swift.make_bucket(), bytes(range(256)) * 5000
        (tmp_path / "a").write_bytes(content)
        upload_file(tmp_path / "a", f"s3://{bucket}/ours")
        swift.client().put_object(Bucket=bucket, Key="theirs", Body=content)
        for key, received in (("ours", 0), ("theirs", len(content))):
            before = traffic()
            assert digest_of(RemoteFile(f"s3://{bucket}/{key}")) == hashlib.sha256(content).hexdigest()
            assert (traffic() - before).received_bytes == received
        assert digest_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()
