"""MLflow started as a manifest says, word for word: its init container, then its server, as processes or as containers.

Changed is only what a test must: the address and port listened on, and what the secrets hold.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from tests.deploy.manifests import Manifest, built, command_line, environment, pods
from tests.deploy.postgres import free_port

IN_CLUSTER = "mlflow.kineflow-mlflow.svc:5000"
_STARTED_WITHIN_SEC = 120

Start = Callable[[Manifest, list[str], Mapping[str, str], Path, IO[str]], "subprocess.Popen[bytes]"]
"""Starts a container of a manifest: the container, its words, its variables, a scratch folder, a file for its log."""


@dataclass(frozen=True)
class Server:
    """An MLflow server that was started as a manifest says."""

    port: int
    folder: Path
    log: Path

    def ask(
        self,
        path: str,
        *,
        host: str = IN_CLUSTER,
        login: tuple[str, str] | None = None,
        body: Any = None,
        method: str | None = None,
    ) -> tuple[int, bytes]:
        """Status and body of one request with this Host header."""
        headers = {"Host": host}
        if login:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(login).encode()).decode()
        if body is not None and not isinstance(body, bytes):
            headers["Content-Type"] = "application/json"
            body = json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


def as_process(
    container: Manifest, words: list[str], variables: Mapping[str, str], scratch: Path, log: IO[str]
) -> subprocess.Popen[bytes]:
    """Start with the ``mlflow`` of this environment, in an empty folder, with nothing of the tests' own settings."""
    assert words[0] == "mlflow"  # which in the image is on the path
    surroundings = {"PATH": os.environ["PATH"], "TMPDIR": str(scratch), "OMP_NUM_THREADS": "1"}
    working = scratch.parent / "cwd"
    working.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        env={**surroundings, **variables, "HOME": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=working,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def start_upgrade(
    overlay: str, database: dict[str, str], folder: Path, start: Start = as_process
) -> subprocess.Popen[bytes]:
    """Start the init container of an overlay's server."""
    objects = built(overlay)
    container = pods(objects)["mlflow"]["spec"]["initContainers"][0]
    variables = environment(container, objects, {"kineflow-database": database})
    scratch = folder / "tmp"
    scratch.mkdir(exist_ok=True)
    with (folder / "upgrade.log").open("a") as log:
        return start(container, command_line(container, variables), variables, scratch, log)


@contextmanager
def mlflow_server(
    overlay: str,
    secrets: dict[str, dict[str, str]],
    given: dict[str, str],
    folder: Path,
    start: Start = as_process,
) -> Iterator[Server]:
    """The server of an overlay, after its init container has ended well.

    Args:
        overlay: Its name.
        secrets: What the secrets hold, by name and key.
        given: Takes the place of variables of the manifest.
        folder: For logs and scratch files; the server's working folder is ``cwd`` below it.
        start: How containers are started.
    """
    upgrade = start_upgrade(overlay, secrets["kineflow-database"], folder, start)
    assert upgrade.wait() == 0, (folder / "upgrade.log").read_text(encoding="utf-8")[-3000:]
    objects = built(overlay)
    container = pods(objects)["mlflow"]["spec"]["containers"][0]
    port, log = free_port(), folder / "log"
    variables = environment(container, objects, secrets) | given
    here = {"--host=0.0.0.0": "--host=127.0.0.1", "--port=5000": f"--port={port}"}
    words = command_line(container, variables)
    assert set(here) <= set(words)
    with log.open("w") as out:
        process = start(container, [here.get(word, word) for word in words], variables, folder / "tmp", out)
    server = Server(port, folder / "cwd", log)
    try:
        _wait_for(server, process)
        yield server
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _wait_for(server: Server, process: subprocess.Popen[bytes]) -> None:
    ending = time.monotonic() + _STARTED_WITHIN_SEC
    while time.monotonic() < ending and process.poll() is None:
        try:
            if server.ask("/health")[0] == 200:
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"MLflow did not start:\n{server.log.read_text(encoding='utf-8')[-3000:]}")
