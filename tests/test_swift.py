"""The test server itself: it is S3 enough, and leaves nothing running."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from tests.swift import PYTHON, Swift, skip_without_swift


@pytest.mark.slow
def test_a_server_ends_when_the_program_that_started_it_has_gone(tmp_path: Path) -> None:
    skip_without_swift()
    program = Path(__file__).parent / "tools" / "swift_server.py"
    server = subprocess.Popen(
        [PYTHON, program, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert server.stdout is not None
    assert server.stdin is not None
    address = urlsplit(server.stdout.readline().split()[1])
    socket.create_connection((address.hostname, address.port), timeout=5).close()

    server.stdin.close()  # as the system does it for a process that is killed

    assert server.wait(30) == 0
    server.stdout.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port), timeout=5)


@pytest.mark.slow
def test_it_keeps_to_ranges_signatures_and_etags_as_s3_does(swift: Swift) -> None:
    bucket = swift.make_bucket()
    put = swift.client().put_object(Bucket=bucket, Key="a/b", Body=b"0123456789")
    assert put["ETag"] == '"781e5e245d69b566979b86e28d23f2c7"'  # md5
    assert swift.client().get_object(Bucket=bucket, Key="a/b", Range="bytes=2-4")["Body"].read() == b"234"
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        Swift(swift.endpoint_url, swift.access_key, "wrong", swift.folder).client().list_objects_v2(Bucket=bucket)
    with pytest.raises(ClientError, match="PreconditionFailed"):
        swift.client().put_object(Bucket=bucket, Key="a/b", Body=b"", IfNoneMatch="*")
