"""MLflow as the manifests start it, word for word, on a real PostgreSQL and (for its files) a real S3 server."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.manifests import DEPLOY, MLFLOW_NAMESPACE, secret_keys
from tests.deploy.mlflow_server import Server, mlflow_server, start_upgrade
from tests.deploy.postgres import PASSWORD, Postgres
from tests.swift import Swift

EXPERIMENTS = "/api/2.0/mlflow/experiments"
ADMIN, RUNNER = ("admin", "an admin's password"), ("kineflow-runner", "a runner's password")


@pytest.fixture
def database(postgres: Postgres) -> dict[str, str]:
    """An empty database: what the secret kineflow-database holds for it."""
    return postgres.make_database(f"mlflow-{uuid.uuid4().hex[:8]}")


@pytest.fixture(scope="module")
def minimal(postgres: Postgres, swift: Swift, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """The server of the minimal overlay, and the bucket that its files go to."""
    bucket = swift.make_bucket()
    secrets = {
        "kineflow-database": postgres.make_database("minimal"),
        "kineflow-mlflow-s3": {key: swift.environment[key] for key in secret_keys()["kineflow-mlflow-s3"]},
    }
    given = {
        "ARTIFACTS_DESTINATION": f"s3://{bucket}/mlflow",
        "AWS_ENDPOINT_URL_S3": swift.endpoint_url,
        "AWS_CONFIG_FILE": os.devnull,
    }
    with mlflow_server("minimal", secrets, given, tmp_path_factory.mktemp("minimal")) as server:
        yield server, bucket


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


def test_every_in_cluster_name_is_answered(minimal: tuple[Server, str]) -> None:
    server, _ = minimal
    service = f"mlflow.{MLFLOW_NAMESPACE}"
    for name in ("mlflow", service, f"{service}.svc", f"{service}.svc.cluster.local", "localhost"):
        for host in {f"{name}:5000", name} - {"localhost"}:
            assert server.ask(f"{EXPERIMENTS}/get?experiment_id=0", host=host)[0] == 200, host


@pytest.mark.parametrize(
    "host", ["evil.example", "mlflow.kineflow.svc:5000", "mlflow.kineflow-mlflow.svc.evil.example", "10.0.0.7"]
)
def test_any_other_name_is_refused(minimal: tuple[Server, str], host: str) -> None:
    status, body = minimal[0].ask(f"{EXPERIMENTS}/get?experiment_id=0", host=host)
    assert status == 403
    assert b"Invalid Host header" in body


def test_probes_are_answered_whatever_their_host_header(minimal: tuple[Server, str]) -> None:
    assert minimal[0].ask("/health", host="10.42.0.17:5000") == (200, b"OK")


def test_a_run_goes_to_postgresql_and_its_files_to_s3(
    minimal: tuple[Server, str], swift: Swift, postgres: Postgres
) -> None:
    server, bucket = minimal
    status, body = server.ask(f"{EXPERIMENTS}/create", body={"name": "d3d"})
    assert status == 200, body
    experiment = json.loads(body)["experiment_id"]
    status, body = server.ask("/api/2.0/mlflow/runs/create", body={"experiment_id": experiment, "start_time": 0})
    assert status == 200, body
    uri = json.loads(body)["run"]["info"]["artifact_uri"]
    assert uri.startswith("mlflow-artifacts:/")
    path = uri.removeprefix("mlflow-artifacts:/").lstrip("/")
    content = os.urandom(100_000)
    proxied = f"/api/2.0/mlflow-artifacts/artifacts/{path}/report.bin"
    assert server.ask(proxied, body=content, method="PUT")[0] == 200
    assert swift.client().get_object(Bucket=bucket, Key=f"mlflow/{path}/report.bin")["Body"].read() == content
    assert server.ask(proxied) == (200, content)
    assert "runs" in postgres.tables("minimal")


def test_the_server_writes_nothing_beside_its_scratch_folder_and_logs_no_secret(minimal: tuple[Server, str]) -> None:
    """Its root file system is read-only in the cluster."""
    server, _ = minimal
    assert list(server.folder.iterdir()) == []
    log = server.log.read_text(encoding="utf-8")
    assert PASSWORD not in log
    assert "testing" not in log  # the S3 server's secret key


@pytest.mark.slow
def test_production_asks_for_a_password_and_lets_the_runner_work(postgres: Postgres, tmp_path: Path) -> None:
    pytest.importorskip(
        "flask_wtf", reason="Flask-WTF is not installed: the passwords of the production overlay are NOT tested"
    )
    secrets = {
        "kineflow-database": postgres.make_database("production"),
        "kineflow-mlflow-s3": dict.fromkeys(secret_keys()["kineflow-mlflow-s3"], "unused-here"),
        "kineflow-mlflow-admin": {
            "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN[0],
            "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "f" * 48,
        },
    }
    assert set(secrets["kineflow-mlflow-admin"]) == set(secret_keys()["kineflow-mlflow-admin"])
    # Where the manifest mounts the file.
    given = {"MLFLOW_AUTH_CONFIG_PATH": str(DEPLOY / "components" / "basic-auth" / "basic_auth.ini")}
    with mlflow_server("production", secrets, given, tmp_path) as server:
        default = f"{EXPERIMENTS}/get?experiment_id=0"
        assert server.ask("/health")[0] == 200
        assert server.ask(default)[0] == 401
        assert server.ask(default, login=(ADMIN[0], "wrong"))[0] == 401
        assert server.ask(default, login=ADMIN)[0] == 200
        assert server.ask(default, login=ADMIN, host="evil.example")[0] == 403

        new = {"username": RUNNER[0], "password": RUNNER[1]}
        assert server.ask("/api/2.0/mlflow/users/create", login=ADMIN, body=new)[0] == 200
        assert server.ask(f"{EXPERIMENTS}/create", login=RUNNER, body={"name": "tsn"})[0] == 200
        assert server.ask("/api/2.0/mlflow/registered-models/create", login=RUNNER, body={"name": "tsn"})[0] == 200
        assert server.ask("/api/2.0/mlflow/users/create", login=RUNNER, body=new | {"username": "x"})[0] == 403
        log = server.log.read_text(encoding="utf-8")
        assert not [secret for secret in (PASSWORD, ADMIN[1], RUNNER[1]) if secret in log]
