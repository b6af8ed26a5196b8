"""A real S3 server for tests: the fixture ``swift``, one throw-away OpenStack Swift a test process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".tools" / "swift" / "bin" / "python"
REGION = "us-east-1"
_SECONDS_TO_END = 10


@dataclass(frozen=True)
class Swift:
    """A running server and the keys to it.

    Attributes:
        endpoint_url: ``http://127.0.0.1:PORT``.
        access_key: Of its one user.
        secret_key: Of the same.
        folder: Where it keeps its data and writes its logs.
    """

    endpoint_url: str
    access_key: str
    secret_key: str
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs in its environment to use this server and no other, as boto3's users set it."""
        no_settings = self.folder / "aws-settings"  # instead of the developer's own
        no_settings.touch()
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": str(no_settings),
            "AWS_SHARED_CREDENTIALS_FILE": str(no_settings),
        }

    def client(self, endpoint_url: str = "") -> Any:
        """A boto3 client of its own, by default straight to the server."""
        import boto3

        return boto3.session.Session().client(
            "s3",
            endpoint_url=endpoint_url or self.endpoint_url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=REGION,
        )

    def kept_parts(self, bucket: str) -> int:
        """How many parts of uploads to a bucket take up the server's disk; S3 itself does not show aborted ones'."""
        name = re.compile(rf"/{bucket}\+segments/.+/\d+".encode())
        count = 0
        for path in (self.folder / "srv").rglob("*.data"):
            with suppress(FileNotFoundError):  # deleted meanwhile
                count += name.search(os.getxattr(path, "user.swift.metadata")) is not None
        return count

    def make_bucket(self) -> str:
        """Make an empty bucket that no other test has; gives its name."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    """A real S3 server (OpenStack Swift's S3 API, not Amazon's); started once a test process."""
    skip_without_swift()
    with running_swift(tmp_path_factory.mktemp("swift")) as server:
        yield server


def skip_without_swift() -> None:
    """Skip the test, aloud, where no server is installed."""
    if not PYTHON.is_file():
        message = "no S3 server: run tests/tools/install.sh; tests on a real S3 server are SKIPPED"
        warnings.warn(message, stacklevel=1)
        pytest.skip(message)


@contextmanager
def running_swift(folder: Path, access_key: str = "test:tester", secret_key: str = "testing") -> Iterator[Swift]:
    """Run a server inside the block; its whole process group is ended after it."""
    program = Path(__file__).parent / "tools" / "swift_server.py"
    server = subprocess.Popen(
        [PYTHON, program, folder, access_key, secret_key],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert server.stdout is not None
        said = server.stdout.readline().split()
        if said[:1] != ["READY"]:
            pytest.fail(f"Swift did not start: {' '.join(said)}; its logs are in {folder}")
        yield Swift(said[1], access_key, secret_key, folder)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
        for pipe in (server.stdin, server.stdout):
            if pipe:
                pipe.close()
