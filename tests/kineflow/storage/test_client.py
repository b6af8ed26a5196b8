"""Settings as boto3's users give them, each shown to work on a real server; failures in words."""

from __future__ import annotations

import logging
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from kineflow.storage.client import ADDRESSING_STYLE, s3_client, split_uri, translate_s3_failures
from kineflow.storage.errors import MISTAKE, OUT_OF_SIGHT, KineflowError
from tests.swift import Swift

pytestmark = pytest.mark.slow


@pytest.fixture
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home folder without AWS settings, and none in the environment; gives ``~/.aws``."""
    import os

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv(ADDRESSING_STYLE, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".aws").mkdir()
    return tmp_path / ".aws"


def credentials(swift: Swift, section: str = "default") -> str:
    return f"[{section}]\naws_access_key_id = {swift.access_key}\naws_secret_access_key = {swift.secret_key}\n"


def listed(client: Any, bucket: str) -> list[str]:
    return [item["Key"] for item in client.list_objects_v2(Bucket=bucket).get("Contents", [])]


@pytest.fixture
def bucket(swift: Swift) -> str:
    bucket = swift.make_bucket()
    swift.client().put_object(Bucket=bucket, Key="clip.mp4", Body=b"x")
    return bucket


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
def test_the_environment_names_endpoint_and_keys(
    swift: Swift, bucket: str, nothing_set: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, swift.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", swift.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", swift.secret_key)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")

    assert listed(s3_client(), bucket) == ["clip.mp4"]


def test_an_argument_comes_before_the_environment(
    swift: Swift, bucket: str, nothing_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nothing_set / "credentials").write_text(credentials(swift))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")

    assert listed(s3_client(swift.endpoint_url), bucket) == ["clip.mp4"]


def test_a_profile_names_everything(
    swift: Swift, bucket: str, nothing_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nothing_set / "credentials").write_text(credentials(swift, "lab"))
    (nothing_set / "config").write_text(
        f"[profile lab]\nregion = us-east-1\nendpoint_url = {swift.endpoint_url}\ns3 =\n  addressing_style = path\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "lab")

    client = s3_client()

    assert listed(client, bucket) == ["clip.mp4"]
    assert client.meta.config.s3["addressing_style"] == "path"
    assert client.meta.region_name == "us-east-1"


@pytest.mark.parametrize(
    ("style", "address"),
    [
        ("path", "https://s3.example.com/bucket/key"),
        ("virtual", "https://bucket.s3.example.com/key"),
    ],
)
def test_the_addressing_style_can_be_set_by_a_variable(
    nothing_set: Path, monkeypatch: pytest.MonkeyPatch, style: str, address: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv(ADDRESSING_STYLE, style)

    url = s3_client("https://s3.example.com").generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "key"})

    assert url.startswith(f"{address}?")


def test_one_client_serves_a_process_and_settings(
    swift: Swift, nothing_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = s3_client(swift.endpoint_url)
    assert s3_client(swift.endpoint_url) is first
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "user")
    assert s3_client(swift.endpoint_url) is not first


def test_forked_workers_have_clients_of_their_own(
    swift: Swift, bucket: str, nothing_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in swift.environment.items():
        monkeypatch.setenv(name, value)
    assert listed(s3_client(), bucket) == ["clip.mp4"]  # a connection is open when the workers are forked

    context = multiprocessing.get_context("fork")
    answers: Any = context.Queue()
    parent = id(s3_client())
    workers = [
        context.Process(target=lambda: answers.put((id(s3_client()) != parent, listed(s3_client(), bucket))))
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    assert [answers.get(timeout=30) for _ in workers] == [(True, ["clip.mp4"])] * 2
    for worker in workers:
        worker.join()


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("s3://bucket/a/b.mp4", ("bucket", "a/b.mp4")),
        ("s3://bucket/a/", ("bucket", "a")),
        ("s3://bucket", ("bucket", "")),
    ],
)
def test_an_address_has_a_bucket_and_a_key(uri: str, parts: tuple[str, str]) -> None:
    assert split_uri(uri) == parts


@pytest.mark.parametrize("uri", ["s3://", "s3:///key", "bucket/key", "https://bucket/key", ""])
def test_what_names_no_bucket_is_refused(uri: str) -> None:
    with pytest.raises(KineflowError, match="names a bucket"):
        split_uri(uri)


def test_credentials_in_an_address_are_refused_and_not_repeated() -> None:
    for attempt in (lambda: split_uri("s3://AKIA7:hunter2@bucket/x"), lambda: s3_client("http://AKIA7:hunter2@host")):
        with pytest.raises(KineflowError, match="credentials in") as raised:
            attempt()
        assert "hunter2" not in str(raised.value)
        assert "AKIA7" not in str(raised.value)


@pytest.mark.parametrize("url", ["storage.example.com", "ftp://host", "http://"])
def test_an_endpoint_that_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(KineflowError, match="no address of an S3 server"):
        s3_client(url)


def test_settings_that_cannot_be_used_are_named(nothing_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KineflowError, match="no S3 credentials"), translate_s3_failures("s3://bucket"):
        s3_client("http://127.0.0.1:9").list_objects_v2(Bucket="bucket")
    monkeypatch.setenv("AWS_PROFILE", "absent")
    with pytest.raises(KineflowError, match="no such AWS profile"):
        s3_client()
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "storage.example.com")
    with pytest.raises(KineflowError, match="settings cannot be used"):
        s3_client()
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    monkeypatch.setenv(ADDRESSING_STYLE, "paht")
    with pytest.raises(KineflowError, match="'paht'"):
        s3_client()


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        (403, "AccessDenied", MISTAKE),
        (404, "NoSuchBucket", MISTAKE),
        (400, "ExpiredToken", OUT_OF_SIGHT),
        (429, "TooManyRequests", OUT_OF_SIGHT),
        (503, "SlowDown", OUT_OF_SIGHT),
        (500, "InternalError", OUT_OF_SIGHT),
    ],
)
def test_what_may_pass_is_told_from_a_mistake(status: int, code: str, exit_code: int) -> None:
    from botocore.exceptions import ClientError

    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    with pytest.raises(KineflowError) as raised, translate_s3_failures("s3://bucket"):
        raise ClientError(answer, "GetObject")
    assert raised.value.exit_code == exit_code


def test_refusals_and_failures_name_the_place_and_never_the_keys(
    swift: Swift,
    bucket: str,
    nothing_set: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", swift.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-7f3a")
    said = []
    for endpoint, problem in ((swift.endpoint_url, "SignatureDoesNotMatch"), ("http://127.0.0.1:9", "S3 failed")):
        with pytest.raises(KineflowError, match=problem) as raised, translate_s3_failures(f"s3://{bucket}/x"):
            s3_client(endpoint).get_object(Bucket=bucket, Key="x")
        assert raised.value.where == f"s3://{bucket}/x"
        assert (raised.value.exit_code == OUT_OF_SIGHT) == (problem == "S3 failed")
        said.append(str(raised.value))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", swift.secret_key)
    for operation, problem in (("get_object", "no such object"), ("head_object", "404")):
        with pytest.raises(KineflowError, match=problem), translate_s3_failures("here"):
            getattr(s3_client(swift.endpoint_url), operation)(Bucket=bucket, Key="absent")

    everything = " ".join([*said, caplog.text, *capfd.readouterr()])
    assert "SignatureDoesNotMatch" in everything
    assert "planted-7f3a" not in everything
