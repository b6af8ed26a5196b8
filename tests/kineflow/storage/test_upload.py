"""Uploads against a real S3 server, over a network that breaks."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kineflow.storage.errors import KineflowError
from kineflow.storage.upload import INDEX_FILES, upload_file, upload_folder
from tests.cutting_proxy import CuttingProxy, cutting_proxy
from tests.swift import Swift

pytestmark = pytest.mark.slow

MB = 2**20
UPLOAD = """
import sys
from pathlib import Path
from kineflow.storage.upload import upload_file
upload_file(Path(sys.argv[1]), sys.argv[2])
"""


@pytest.fixture
def bucket(swift: Swift, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in swift.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")  # the pauses between more would make the tests slow
    return swift.make_bucket()


@pytest.fixture
def proxy(swift: Swift) -> Iterator[CuttingProxy]:
    with cutting_proxy(swift.endpoint_url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 MB and a little: three parts of 8 MB, and a short one."""
    path = tmp_path_factory.mktemp("large") / "model.safetensors"
    path.write_bytes(os.urandom(24 * MB + 123))
    return path


def keys(swift: Swift, bucket: str) -> list[str]:
    return [item["Key"] for item in swift.client().list_objects_v2(Bucket=bucket).get("Contents", [])]


def unfinished(swift: Swift, bucket: str) -> list[dict[str, Any]]:
    return list(swift.client().list_multipart_uploads(Bucket=bucket).get("Uploads", []))


def abort_unfinished(swift: Swift, bucket: str) -> None:
    for upload in unfinished(swift, bucket):
        swift.client().abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


def content(swift: Swift, bucket: str, key: str) -> bytes:
    body: bytes = swift.client().get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


@pytest.mark.parametrize("size", [0, 8 * MB, 8 * MB + 1], ids=["empty", "one part", "two parts"])
def test_a_file_arrives_whole_with_its_digest(swift: Swift, bucket: str, tmp_path: Path, size: int) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(os.urandom(size))

    upload_file(path, f"s3://{bucket}/a/b.bin", metadata={"run": "7"})

    assert content(swift, bucket, "a/b.bin") == path.read_bytes()
    kept = swift.client().head_object(Bucket=bucket, Key="a/b.bin")["Metadata"]
    assert kept == {"run": "7", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_an_upload_survives_a_connection_that_is_cut(
    swift: Swift, bucket: str, proxy: CuttingProxy, large: Path
) -> None:
    proxy.cut_after(sent=12 * MB)

    upload_file(large, f"s3://{bucket}/model", endpoint_url=proxy.endpoint_url)

    assert proxy.cuts == 1
    assert content(swift, bucket, "model") == large.read_bytes()
    assert unfinished(swift, bucket) == []


def test_a_network_that_stays_down_gives_one_message_and_no_object(
    swift: Swift, bucket: str, proxy: CuttingProxy, large: Path, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.cut_after(sent=12 * MB, stay_down=True)

    with pytest.raises(KineflowError, match="S3 failed") as raised:
        upload_file(large, f"s3://{bucket}/model", endpoint_url=proxy.endpoint_url)

    assert f"s3://{bucket}/model" in str(raised.value)
    assert swift.secret_key not in str(raised.value)
    assert keys(swift, bucket) == []
    assert "parts of an upload are left" in caplog.text, "nobody can abort over a dead network: it must be said"
    abort_unfinished(swift, bucket)
    assert unfinished(swift, bucket) == []
    assert swift.kept_parts(bucket) == 0


@pytest.fixture
def upload_in_the_middle(
    swift: Swift, bucket: str, proxy: CuttingProxy, large: Path
) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start a program that uploads, and come back when some of its parts are there and more are to come."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        proxy.slow_down(1.5 * MB)  # bytes per second of each of a few connections
        program = subprocess.Popen(
            [sys.executable, "-c", UPLOAD, str(large), f"s3://{bucket}/model"],
            env=os.environ | swift.environment | {"AWS_ENDPOINT_URL_S3": proxy.endpoint_url},
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(program)
        assert program.stderr is not None
        deadline = time.monotonic() + 60
        while not swift.kept_parts(bucket):
            assert program.poll() is None, f"the upload ended before it was stopped: {program.stderr.read()}"
            assert time.monotonic() < deadline, "no part arrived"
            time.sleep(0.05)
        return program

    yield start
    for program in started:
        program.kill()
        program.wait()
        assert program.stderr is not None
        program.stderr.close()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_stopping_a_program_in_the_middle_leaves_nothing(
    swift: Swift,
    bucket: str,
    upload_in_the_middle: Callable[[], subprocess.Popen[str]],
    number: signal.Signals,
    code: int,
) -> None:
    program = upload_in_the_middle()

    program.send_signal(number)
    _, output = program.communicate(timeout=60)

    assert program.returncode == code, output
    assert keys(swift, bucket) == unfinished(swift, bucket) == []
    assert swift.kept_parts(bucket) == 0


def test_an_upload_that_another_aborted_fails_with_one_message_and_no_object(
    swift: Swift, bucket: str, upload_in_the_middle: Callable[[], subprocess.Popen[str]]
) -> None:
    program = upload_in_the_middle()

    abort_unfinished(swift, bucket)
    _, output = program.communicate(timeout=60)

    assert program.returncode == 1
    assert f"s3://{bucket}/model: the S3 server refused: NoSuchUpload" in output
    assert keys(swift, bucket) == unfinished(swift, bucket) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    for name in ("student/model.safetensors", "student/model.json", "report.html", "index.json", ".hidden/x"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_a_folder_arrives_with_its_indexes_last(swift: Swift, bucket: str, folder: Path) -> None:
    uploaded = upload_folder(folder, f"s3://{bucket}/runs/7/")

    at = f"s3://{bucket}/runs/7"
    assert uploaded[-2:] == [f"{at}/student/model.json", f"{at}/index.json"]
    assert sorted(uploaded) == sorted(f"s3://{bucket}/{key}" for key in keys(swift, bucket))
    assert len(uploaded) == 4
    assert content(swift, bucket, "runs/7/student/model.json") == b"student/model.json"
    times = {k["Key"]: k["LastModified"] for k in swift.client().list_objects_v2(Bucket=bucket)["Contents"]}
    assert times["runs/7/index.json"] >= max(times.values())


def test_half_a_folder_has_no_index_even_where_a_whole_one_was(
    swift: Swift, bucket: str, folder: Path, proxy: CuttingProxy
) -> None:
    upload_folder(folder, f"s3://{bucket}/runs/7")
    (folder / "student/model.safetensors").write_bytes(os.urandom(4 * MB))
    proxy.cut_after(sent=2 * MB, stay_down=True)

    with pytest.raises(KineflowError, match="S3 failed"):
        upload_folder(folder, f"s3://{bucket}/runs/7", endpoint_url=proxy.endpoint_url)

    assert proxy.cuts == 1
    assert not [key for key in keys(swift, bucket) if key.rpartition("/")[2] in INDEX_FILES]
    proxy.mend()
    upload_folder(folder, f"s3://{bucket}/runs/7", endpoint_url=proxy.endpoint_url)
    assert len(keys(swift, bucket)) == 4


def test_links_to_files_are_followed_and_links_to_folders_are_not(swift: Swift, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "ab").write_text("kept by DVC")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.json").symlink_to(tmp_path / "cache" / "ab")
    (tmp_path / "out" / "more").symlink_to(tmp_path / "cache")

    assert upload_folder(tmp_path / "out", f"s3://{bucket}") == [f"s3://{bucket}/model.json"]
    assert content(swift, bucket, "model.json") == b"kept by DVC"


def test_a_file_that_changes_meanwhile_is_not_kept(
    swift: Swift, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "growing.bin"
    path.write_bytes(b"a" * 1000)
    from kineflow.storage import upload as module

    verify = module._verify

    def change_then_verify(client: Any, item: Any) -> None:
        path.write_bytes(b"b" * 1000)
        verify(client, item)

    monkeypatch.setattr(module, "_verify", change_then_verify)
    with pytest.raises(KineflowError, match="kept something else"):
        upload_file(path, f"s3://{bucket}/growing.bin")
    assert keys(swift, bucket) == []


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://", "names a bucket"),
        ("/folder/file", "names a bucket"),
        ("s3://bucket", "no name for the object"),
        ("s3://bucket/folder/", "no name for the object"),
    ],
)
def test_an_address_that_names_no_object_is_refused(tmp_path: Path, uri: str, message: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KineflowError, match=message):
        upload_file(tmp_path / "file", uri)


def test_nothing_to_upload_is_said(tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match="no such file"):
        upload_file(tmp_path / "absent", "s3://bucket/key")
    with pytest.raises(KineflowError, match="no such folder"):
        upload_folder(tmp_path / "absent", "s3://bucket/key")
    with pytest.raises(KineflowError, match="no files"):
        upload_folder(tmp_path, "s3://bucket/key")


def test_an_absent_bucket_is_named(swift: Swift, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(KineflowError, match=r"s3://absent-bucket/key: .*NoSuchBucket"):
        upload_file(tmp_path / "file", "s3://absent-bucket/key")
