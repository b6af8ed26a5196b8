"""A registered model behind a server: written anew from its checked bundle, so that no stored code is run."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from kineflow.storage.errors import KineflowError
from kineflow.tracking.store import quiet_mlflow

_GRACE_SEC = 10.0
_LOG = logging.getLogger("kineflow")  # whose lines the front ends show


def serve(model: str, *, host: str, port: int, timeout_sec: int) -> None:
    """Serve until the server ends or is stopped.

    Args:
        model: ``models:/NAME`` (its champion, else its candidate), ``models:/NAME@ALIAS``, ``models:/NAME/VERSION`` or
            ``models:/NAME/latest``.
        host: Address to listen at.
        port: Port to listen at.
        timeout_sec: Most seconds for a request.

    Raises:
        KineflowError: There is no such model, its files are not those that were registered, or the server fails.
    """
    from kineflow.registry.named_model import exact_version
    from kineflow.serving.app import MODEL_FOLDER, TIMEOUT_SEC
    from kineflow.serving.served_model import write_local_model
    from kineflow.serving.tested import words_of

    quiet_mlflow()
    with tempfile.TemporaryDirectory(prefix="kineflow-serve-") as folder:
        local = Path(folder) / "model"
        _LOG.info("%s", words_of(write_local_model(exact_version(model), local)))
        command = [
            sys.executable, "-P", "-m", "uvicorn", "--factory", "kineflow.serving.app:application",
            "--app-dir", folder,  # else the folder that this was started in, whosever it is
            "--host", host, "--port", str(port),
        ]  # fmt: skip
        environment = {**os.environ, MODEL_FOLDER: str(local), TIMEOUT_SEC: str(timeout_sec)}
        server = subprocess.Popen(command, env=environment, start_new_session=True)
        try:
            code = server.wait()
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGTERM)
                try:
                    server.wait(_GRACE_SEC)
                except subprocess.TimeoutExpired:  # a request at work, which nothing can stop
                    os.killpg(server.pid, signal.SIGKILL)
                    server.wait()
    if code:
        raise KineflowError(f"the server ended with code {code}", where=model, remedy="see its messages above")
