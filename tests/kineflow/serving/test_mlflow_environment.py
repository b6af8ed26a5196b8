"""MLflow serves a stored model from an environment that it makes itself, in which Kineflow was not installed."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from kineflow.evaluation.view_protocol import ViewProtocol
from kineflow.models.bundle import load_bundle
from kineflow.registry.measured import Measured
from kineflow.registry.promotion import promote
from kineflow.registry.registration import register_student
from kineflow.serving.predict import predict_video
from kineflow.serving.trial import example_video

pytestmark = pytest.mark.long

TOOLS = Path(__file__).resolve().parents[3] / ".tools" / "uv"
VIEWS = ViewProtocol(3, "spread", 2)


def setting(name: str) -> str:
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    found = [line.partition("=")[2].strip("'") for line in listed.stdout.splitlines() if f".{name}=" in line]
    return found[-1] if found else ""


def skip(words: str) -> None:
    warnings.warn(words, stacklevel=1)
    pytest.skip(words)


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of a machine with uv, and nothing of this checkout on Python's path."""
    uv = TOOLS / "bin" / "uv"
    if not uv.is_file():
        made = subprocess.run([sys.executable, "-m", "venv", str(TOOLS)], check=False).returncode == 0
        if (
            not made
            or subprocess.run([TOOLS / "bin" / "pip", "install", "--quiet", "uv==0.13.9"], check=False).returncode
        ):
            skip("uv cannot be had: MLflow's own environments are NOT tested")
    given = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    given |= {
        "UV_FIND_LINKS": setting("find-links"),
        "SSL_CERT_FILE": setting("cert") or given.get("SSL_CERT_FILE", ""),
    }
    given = {name: value for name, value in given.items() if value}
    given["PATH"] = f"{uv.parent}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{given['PATH']}"
    folder = tmp_path_factory.mktemp("tried")
    torch = f"torch=={metadata.version('torch').partition('+')[0]}"
    subprocess.run([uv, "venv", "--quiet", f"--python={sys.executable}", str(folder / "venv")], check=True)
    tried = subprocess.run(
        [uv, "pip", "install", "--dry-run", torch], env=given | {"VIRTUAL_ENV": str(folder / "venv")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "+cpu" not in tried.stderr:
        skip(f"no CPU build of {torch} can be had here: MLflow's own environments are NOT tested")
    return given | {"MLFLOW_ENV_ROOT": str(folder / "environments")}


@pytest.fixture
def server(project: Path, bundle: Path, environ: dict[str, str]) -> Iterator[str]:
    """Address of `mlflow models serve` of the champion."""
    register_student(bundle, name="demo", evaluation=Measured({"top1": 0.5}, "a" * 64, 12, views=VIEWS))
    assert promote("demo", dry_run=False).applied
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = ["mlflow", "models", "serve", "-m", "models:/demo@champion", "--env-manager", "uv", "--port", str(port)]
    with (project / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", *command], cwd=project, stdout=log, stderr=subprocess.STDOUT,
            env=environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{project / 'mlflow.db'}"}, start_new_session=True,
        )  # fmt: skip
    try:
        limit = time.monotonic() + 900
        while not answers(f"http://127.0.0.1:{port}/ping"):
            assert process.poll() is None, (project / "server.log").read_text()
            assert time.monotonic() < limit, (project / "server.log").read_text()
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def answers(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(url, timeout=5).status == 200)
    except OSError:
        return False


def ask(server: str, content: object) -> dict[str, float]:
    request = urllib.request.Request(
        f"{server}/invocations", json.dumps(content).encode(), {"Content-Type": "application/json"}
    )
    [row] = json.load(urllib.request.urlopen(request, timeout=120))["predictions"]
    return dict(row["probabilities"])


def test_it_answers_as_kineflow_does(server: str, bundle: Path, environ: dict[str, str]) -> None:
    network, card = load_bundle(bundle)
    content = example_video(card)
    record = {"dataframe_records": [{"video": base64.b64encode(content).decode()}]}
    expected = predict_video(content, network, card, views=VIEWS)
    np.testing.assert_allclose(list(ask(server, record).values()), expected, atol=1e-5, rtol=0)
    cheap = ask(server, record | {"params": {"clips": 1}})
    one_view = predict_video(content, network, card, views=ViewProtocol(1))
    np.testing.assert_allclose(list(cheap.values()), one_view, atol=1e-5, rtol=0)
    assert np.abs(expected - one_view).max() > 1e-4
    [made] = Path(environ["MLFLOW_ENV_ROOT"]).rglob("site-packages/kineflow/__init__.py")
    assert not (made.parents[1] / "dvc").exists()
    assert not (made.parents[1] / "components").exists()
