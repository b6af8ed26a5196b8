"""MLflow as the manifests start it, word for word, on a real PostgreSQL and (for its files) a real S3 server."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.manifests import DEPLOY, MLFLOW_NAMESPACE, secret_keys
from tests.deploy.mlflow_server import Server, mlflow_server, start_upgrade
from tests.deploy.postgres import PASSWORD, Postgres
from tests.swift import Swift

pytestmark = pytest.mark.slow

EXPERIMENTS = "/api/2.0/mlflow/experiments"
ADMIN, RUNNER = ("admin", "an admin's password"), ("kineflow-runner", "a runner's password")


@pytest.fixture
def database(postgres: Postgres) -> dict[str, str]:
    """An empty database: what the secret kineflow-database holds for it."""
    return postgres.make_database(f"mlflow-{uuid.uuid4().hex[:8]}")


@dataclass(frozen=True)
class Deployed:
    """The server of an overlay, asked as its users ask: with a password where it wants one."""

    overlay: str
    server: Server
    bucket: str

    def ask(self, path: str, **request: Any) -> tuple[int, bytes]:
        login = {"login": ADMIN} if self.overlay == "production" else {}
        return self.server.ask(path, **login | request)


@pytest.fixture(scope="module", params=["production", pytest.param("minimal", marks=pytest.mark.long)])
def deployed(
    request: pytest.FixtureRequest, postgres: Postgres, swift: Swift, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployed]:
    """The server of each overlay, and the bucket that its files go to."""
    overlay, bucket = request.param, swift.make_bucket()
    secrets = {
        "kineflow-database": postgres.make_database(overlay),
        "kineflow-mlflow-s3": {key: swift.environment[key] for key in secret_keys()["kineflow-mlflow-s3"]},
    }
    given = {
        "ARTIFACTS_DESTINATION": f"s3://{bucket}/mlflow",
        "AWS_ENDPOINT_URL_S3": swift.endpoint_url,
        "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "path",
        "AWS_CONFIG_FILE": os.devnull,
    }
    if overlay == "production":
        pytest.importorskip(
            "flask_wtf", reason="Flask-WTF is not installed: the passwords of the production overlay are NOT tested"
        )
        secrets["kineflow-mlflow-admin"] = {
            "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN[0],
            "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "f" * 48,
        }
        assert set(secrets["kineflow-mlflow-admin"]) == set(secret_keys()["kineflow-mlflow-admin"])
        # Where the manifest mounts the file.
        given["MLFLOW_AUTH_CONFIG_PATH"] = str(DEPLOY / "components" / "basic-auth" / "basic_auth.ini")
    with mlflow_server(overlay, secrets, given, tmp_path_factory.mktemp(overlay)) as server:
        yield Deployed(overlay, server, bucket)


@pytest.mark.long
def test_two_upgrades_at_once_leave_a_whole_database_and_a_third_changes_nothing(
    postgres: Postgres, database: dict[str, str], tmp_path: Path
) -> None:
    """Two servers of a new deployment start together; the init container that fails is started again."""
    both = [start_upgrade("production", database, tmp_path) for _ in range(2)]
    assert 0 in [process.wait() for process in both]
    tables = postgres.tables(database["PGDATABASE"])
    assert {"alembic_version", "runs", "experiments", "registered_models", "model_versions"} <= tables
    assert start_upgrade("production", database, tmp_path).wait() == 0
    assert postgres.tables(database["PGDATABASE"]) == tables


def test_every_in_cluster_name_is_answered(deployed: Deployed) -> None:
    service = f"mlflow.{MLFLOW_NAMESPACE}"
    for name in ("mlflow", service, f"{service}.svc", f"{service}.svc.cluster.local", "localhost"):
        for host in {f"{name}:5000", name} - {"localhost"}:
            assert deployed.ask(f"{EXPERIMENTS}/get?experiment_id=0", host=host)[0] == 200, host


@pytest.mark.parametrize(
    "host", ["evil.example", "mlflow.kineflow.svc:5000", "mlflow.kineflow-mlflow.svc.evil.example", "10.0.0.7"]
)
def test_any_other_name_is_refused(deployed: Deployed, host: str) -> None:
    status, body = deployed.ask(f"{EXPERIMENTS}/get?experiment_id=0", host=host)
    assert status == 403
    assert b"Invalid Host header" in body


def test_probes_are_answered_whatever_their_host_header(deployed: Deployed) -> None:
    assert deployed.server.ask("/health", host="10.42.0.17:5000") == (200, b"OK")


def test_a_run_goes_to_postgresql_and_its_files_to_s3(deployed: Deployed, swift: Swift, postgres: Postgres) -> None:
    status, body = deployed.ask(f"{EXPERIMENTS}/create", body={"name": "d3d"})
    assert status == 200, body
    experiment = json.loads(body)["experiment_id"]
    status, body = deployed.ask("/api/2.0/mlflow/runs/create", body={"experiment_id": experiment, "start_time": 0})
    assert status == 200, body
    uri = json.loads(body)["run"]["info"]["artifact_uri"]
    assert uri.startswith("mlflow-artifacts:/")
    path = uri.removeprefix("mlflow-artifacts:/").lstrip("/")
    content = os.urandom(100_000)
    proxied = f"/api/2.0/mlflow-artifacts/artifacts/{path}/report.bin"
    assert deployed.ask(proxied, body=content, method="PUT")[0] == 200
    stored = swift.client().get_object(Bucket=deployed.bucket, Key=f"mlflow/{path}/report.bin")
    assert stored["Body"].read() == content
    assert deployed.ask(proxied) == (200, content)
    assert "runs" in postgres.tables(deployed.overlay)


def test_production_alone_asks_for_a_password_and_lets_the_runner_work(deployed: Deployed) -> None:
    server, default = deployed.server, f"{EXPERIMENTS}/get?experiment_id=0"
    assert server.ask(default)[0] == (401 if deployed.overlay == "production" else 200)
    if deployed.overlay == "minimal":
        return
    assert server.ask(default, login=(ADMIN[0], "wrong"))[0] == 401
    assert server.ask(default, login=ADMIN)[0] == 200

    new = {"username": RUNNER[0], "password": RUNNER[1]}
    assert server.ask("/api/2.0/mlflow/users/create", login=ADMIN, body=new)[0] == 200
    assert server.ask(f"{EXPERIMENTS}/create", login=RUNNER, body={"name": "tsn"})[0] == 200
    assert server.ask("/api/2.0/mlflow/registered-models/create", login=RUNNER, body={"name": "tsn"})[0] == 200
    assert server.ask("/api/2.0/mlflow/users/create", login=RUNNER, body=new | {"username": "x"})[0] == 403


def test_the_server_writes_nothing_beside_its_scratch_folder_and_logs_no_secret(deployed: Deployed) -> None:
    """Its root file system is read-only in the cluster."""
    assert list(deployed.server.folder.iterdir()) == []
    log = deployed.server.log.read_text(encoding="utf-8")
    s3_key = "testing"
    assert not [secret for secret in (PASSWORD, ADMIN[1], RUNNER[1], s3_key) if secret in log]
