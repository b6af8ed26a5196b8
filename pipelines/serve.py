"""A registered model behind MLflow's server: written anew from its checked bundle, so that no stored code is run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from kineflow.storage.errors import KineflowError
from kineflow.tracking.store import quiet_mlflow


def serve(model: str, *, host: str, port: int, timeout_sec: int) -> None:
    """Serve until the server ends or is stopped.

    Args:
        model: ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.
        host: Address to listen at.
        port: Port to listen at.
        timeout_sec: Most seconds for a request.

    Raises:
        KineflowError: There is no such model, its files are not those that were registered, or the server fails.
    """
    from kineflow.serving.served_model import write_local_model

    quiet_mlflow()
    with tempfile.TemporaryDirectory(prefix="kineflow-serve-") as folder:
        local = Path(folder) / "model"
        write_local_model(model, local)
        command = [
            sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(local), "--env-manager", "local",
            "--host", host, "--port", str(port), "--timeout", str(timeout_sec),
        ]  # fmt: skip
        # MLflow starts programs that lie beside this interpreter.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        server = subprocess.Popen(command, env={**os.environ, "PATH": path}, start_new_session=True)
        try:
            code = server.wait()
        finally:
            with suppress(ProcessLookupError):  # its own processes too
                os.killpg(server.pid, signal.SIGTERM)
            server.wait()
    if code:
        raise KineflowError(f"the server ended with code {code}", where=model, remedy="see its messages above")
