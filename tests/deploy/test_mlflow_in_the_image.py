"""MLflow as the manifests start it, in the image and confined as they say: not root, nothing writable but /tmp."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import pytest

from components.frontend.image import IMAGE
from tests.deploy.manifests import DEPLOY, OVERLAYS, Manifest, built, pods, secret_keys
from tests.deploy.mlflow_server import mlflow_server
from tests.deploy.postgres import PASSWORD, Postgres

EXPERIMENT = "/api/2.0/mlflow/experiments/get?experiment_id=0"


@pytest.mark.containers
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_server_of_an_overlay_runs_in_the_image_as_confined_as_in_its_pod(
    overlay: str, postgres: Postgres, tmp_path: Path
) -> None:
    _need_the_image()
    names: list[str] = []

    def start(
        container: Manifest, words: list[str], variables: Mapping[str, str], scratch: Path, log: IO[str]
    ) -> subprocess.Popen[bytes]:
        names.append(f"kineflow-{container['name']}-{uuid.uuid4().hex[:8]}")
        command = [*_confined(overlay, container), "--name", names[-1], *_variables(variables), IMAGE, *words]
        return subprocess.Popen(
            command, env={**os.environ, **variables}, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )

    database = postgres.make_database(f"image-{overlay}-{uuid.uuid4().hex[:8]}")
    secrets = {name: dict.fromkeys(keys, f"for-{name}-only") for name, keys in secret_keys().items()}
    try:
        with mlflow_server(overlay, secrets | {"kineflow-database": database}, {}, tmp_path, start) as server:
            assert server.ask("/health")[0] == 200
            login = ("for-kineflow-mlflow-admin-only", "for-kineflow-mlflow-admin-only")
            assert server.ask(EXPERIMENT, login=login)[0] == 200
            assert server.ask(EXPERIMENT)[0] == (401 if overlay == "production" else 200)
            assert server.ask(EXPERIMENT, login=login, host="evil.example")[0] == 403
            assert PASSWORD not in server.log.read_text(encoding="utf-8")
    finally:
        for name in names:
            subprocess.run(["docker", "rm", "--force", name], capture_output=True, timeout=60)


def _need_the_image() -> None:
    """Skip, aloud, where there is no engine, no image, or one without the server's packages."""
    reason = ""
    if shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True, timeout=60).returncode:
        reason = "no container engine runs here"
    elif subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, timeout=60).returncode:
        reason = f"there is no image {IMAGE} (deploy/build_image.py)"
    else:
        imports = ["docker", "run", "--rm", IMAGE, "python", "-c", "import psycopg, flask_wtf"]
        if subprocess.run(imports, capture_output=True, timeout=120).returncode:
            reason = f"{IMAGE} was built without the extra 'server'"
    if reason:
        message = f"{reason}: MLflow is NOT tested in the image"
        warnings.warn(message, stacklevel=1)
        pytest.skip(message)


def _confined(overlay: str, container: Manifest) -> list[str]:
    """``docker run`` with what the pod's and the container's security context say."""
    pod, own = pods(built(overlay))["mlflow"]["spec"], container["securityContext"]
    words = ["docker", "run", "--rm", "--network", "host", "--memory", container["resources"]["limits"]["memory"][:-1]]
    words += ["--user", f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"]
    words += [f"--cap-drop={capability}" for capability in own["capabilities"]["drop"]]
    words += ["--read-only"] if own["readOnlyRootFilesystem"] else []
    words += [] if own["allowPrivilegeEscalation"] else ["--security-opt", "no-new-privileges"]
    for mount in container["volumeMounts"]:
        (volume,) = [one for one in pod["volumes"] if one["name"] == mount["name"]]
        if "emptyDir" in volume:
            words += ["--tmpfs", mount["mountPath"]]
        else:
            words += ["--volume", f"{DEPLOY / 'components' / 'basic-auth'}:{mount['mountPath']}:ro"]
    return words


def _variables(variables: Mapping[str, str]) -> list[str]:
    """By name only: their values are taken from the environment of the client."""
    return [word for name in variables for word in ("--env", name)]
