"""Credentials are planted wherever users keep them; after a whole run with them, nothing that it left holds one.

It is the suite's one whole run by ``--engine kfp``. That no credential of the environment is written by DVC's run and
the cluster's package is seen in ``tests/pipelines/test_engines.py``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from kineflow.tracking.store import prepare_store
from pipelines.dag.graph import graph_of
from tests.kineflow.tracking.test_servers import free_port, running
from tests.pipelines.conftest import TINY_PARAMS, Finished, Project, small_project
from tests.secret_search import found_below, found_in
from tests.swift import Swift, running_swift, skip_without_swift

pytestmark = pytest.mark.long

# Written as Amazon writes them: with characters that URLs and JSON change.
KEY_ID, SECRET_KEY = "planted:KEYID5d1c", "planted/S3secret+77ab"
WRONG_KEY = "planted/Wrongkey+10ce"
OTHER_PROFILE = "planted/Profile+c0de"
MLFLOW_USER, MLFLOW_PASSWORD = "planted-user-9b1e", "planted/Mlflow+41fe"
PLANTED = (KEY_ID, SECRET_KEY, WRONG_KEY, OTHER_PROFILE, MLFLOW_USER, MLFLOW_PASSWORD)

COMPILE = """
from pathlib import Path
from pipelines.cluster.package import compile_for_cluster
from pipelines.cluster.data_version import DataVersion
from pipelines.dag.graph import graph_of
from pipelines.dag.params import load_params
from pipelines.dag.cluster_settings import ClusterParams

checked = load_params(graph_of("d3d"), Path("params.yaml"))
cluster = ClusterParams.model_validate({
    "image": "registry.example.com/team/kineflow-python@sha256:" + "0123456789abcdef" * 4,
    "volume": {"claim": "kineflow-data", "path": "/cache"},
    "secrets": {"s3": "kineflow-s3", "mlflow": "kineflow-mlflow"},
})
Path("package.yaml").write_text(compile_for_cluster("d3d", checked, cluster, data=DataVersion("0" * 32, "s3://b/dvc")))
"""
PUBLISH = """
import sys
from pathlib import Path
from pipelines.engines.kfp_execution import _outcome
from pipelines.engines.publish import publish

outcome = _outcome("d3d", next(Path("outputs/kfp").glob("d3d-*")))
for uri in publish(outcome, sys.argv[1], recipe="d3d", run_id="7f3a"):
    print(uri)
"""


@dataclass(frozen=True)
class Everything:
    """What a run with planted credentials has left behind.

    Attributes:
        folder: Of the project and the tracking server.
        swift: The S3 server.
        bucket: All that was written to S3.
        said: By each command.
    """

    folder: Path
    swift: Swift
    bucket: str
    said: dict[str, Finished]

    def stored(self) -> Iterator[tuple[str, bytes]]:
        """Name, and content with metadata, of each object on S3."""
        client = self.swift.client()
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket):
            for item in page.get("Contents", []):
                kept = client.get_object(Bucket=self.bucket, Key=item["Key"])
                yield item["Key"], kept["Body"].read()
                yield f"{item['Key']} (metadata)", repr(kept["Metadata"]).encode()


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everything]:
    """Run a recipe from S3 to a registered model, publish and compile, with credentials in environment and profiles."""
    skip_without_swift()
    work, home = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("home")
    with ExitStack() as servers:
        swift = servers.enter_context(running_swift(tmp_path_factory.mktemp("swift"), KEY_ID, SECRET_KEY))
        bucket = swift.make_bucket()
        project = small_project(work / "project")
        said = {"synth": project.kineflow("synth", "data", "--spec", "synth.yaml", "--seed", "3", "--workers", "1")}
        for path in (project.folder / "data").rglob("*"):
            if path.is_file():
                swift.client().upload_file(str(path), bucket, path.relative_to(project.folder).as_posix())
        shutil.rmtree(project.folder / "data")
        params: dict[str, Any] = {
            **TINY_PARAMS,
            "ingestion": {**TINY_PARAMS["ingestion"], "source": f"s3://{bucket}/data"},
            "teacher": {**TINY_PARAMS["teacher"], "steps": 1, "validate_every_steps": 1},
            "student": {**TINY_PARAMS["student"], "steps": 1, "validate_every_steps": 1},
        }
        (project.folder / "params.yaml").write_text(yaml.safe_dump(params))
        (home / ".aws").mkdir()
        (home / ".aws" / "credentials").write_text(
            f"[lab]\naws_access_key_id={KEY_ID}\naws_secret_access_key={SECRET_KEY}\n"
            f"[other]\naws_access_key_id=x\naws_secret_access_key={OTHER_PROFILE}\n"
        )
        (home / ".aws" / "config").write_text(
            f"[profile lab]\nregion = us-east-1\nendpoint_url = {swift.endpoint_url}\ns3 =\n  addressing_style = path\n"
        )

        port, server_folder = free_port(), work / "server"
        server_folder.mkdir()
        prepare_store(f"sqlite:///{server_folder / 'mlflow.db'}")
        serve = ["server", "--port", str(port), "--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db"]
        with pytest.MonkeyPatch.context() as of_the_server:
            for name, value in swift.environment.items():
                of_the_server.setenv(name, value)
            destination = ["--artifacts-destination", f"s3://{bucket}/mlflow"]
            health = f"http://127.0.0.1:{port}/health"
            servers.enter_context(running([*serve, *destination], health=health, folder=server_folder))

        common = {
            "HOME": str(home),
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
            "MLFLOW_TRACKING_USERNAME": MLFLOW_USER,
            "MLFLOW_TRACKING_PASSWORD": MLFLOW_PASSWORD,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        by_variables = {**common, **swift.environment}
        by_profile = {**common, "AWS_PROFILE": "lab"}
        said["run"] = project.kineflow("run", "d3d", "--engine", "kfp", env=by_variables)
        said["publish"] = python(project, PUBLISH, f"s3://{bucket}/published", env=by_profile)
        said["compile"] = python(project, COMPILE, env=by_variables)
        said["package"] = project.kineflow("compile", "d3d", "--params", "params.yaml", env=by_variables)
        wrong = by_variables | {"AWS_SECRET_ACCESS_KEY": WRONG_KEY}
        said["refused"] = python(project, PUBLISH, f"s3://{bucket}/refused", env=wrong)
        nowhere = by_profile | {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
        # By DVC, whose files are then looked at too.
        said["unreachable"] = project.kineflow("run", "d3d", "--force", env=nowhere)
        yield Everything(work, swift, bucket, said)


def python(project: Project, program: str, *arguments: str, env: dict[str, str]) -> Finished:
    """Run a program in the project, its errors said as the command line says them."""
    done = subprocess.run(
        [sys.executable, "-c", f"from components.frontend.exits import exit_code\ndef work():\n{indented(program)}\n"
         "raise SystemExit(exit_code(work))", *arguments],
        cwd=project.folder, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    return Finished(done.returncode, done.stdout)


def indented(program: str) -> str:
    return "\n".join(f"    {line}" for line in program.splitlines())


def test_the_run_really_used_the_planted_credentials(everything: Everything) -> None:
    said = everything.said
    for name in ("synth", "run", "publish", "compile", "package"):
        assert said[name].code == 0, f"{name}: {said[name].said}"
    assert sorted(said["run"].ran) == sorted(task.name for task in graph_of("d3d").tasks)
    assert "SignatureDoesNotMatch" in said["refused"].said
    assert said["refused"].code == 2
    assert said["unreachable"].code != 0
    assert "S3 failed" in said["unreachable"].said
    names = [name for name, _ in everything.stored()]
    assert "published/d3d/7f3a/index.json" in names
    assert any(name.startswith("mlflow/") and name.endswith("model.safetensors") for name in names)
    assert (everything.folder / "project" / "package.yaml").stat().st_size > 1000


def test_no_credential_is_in_what_commands_said(everything: Everything) -> None:
    assert {name: hit for name, f in everything.said.items() if (hit := found_in(f.said.encode(), PLANTED))} == {}


def test_no_credential_is_in_files_databases_or_logs(everything: Everything) -> None:
    assert found_below(everything.folder, PLANTED) == {}


def test_no_credential_is_in_what_went_to_s3(everything: Everything) -> None:
    assert {name: hit for name, content in everything.stored() if (hit := found_in(content, PLANTED))} == {}


def test_a_credential_that_had_been_written_would_be_found(everything: Everything) -> None:
    """The search sees what it should: planted where a careless program would put it, each secret is found."""
    careless = everything.folder / "project" / "outputs" / "careless.json"
    leaks = dict(enumerate(PLANTED))
    careless.write_text("\n".join(f'"{number}": "{secret}"' for number, secret in leaks.items()))
    everything.swift.client().put_object(
        Bucket=everything.bucket, Key="careless", Body=b"x", Metadata={"password": MLFLOW_PASSWORD}
    )
    try:
        assert found_below(everything.folder, PLANTED) == {str(careless): list(PLANTED)}
        hits = {name for name, content in everything.stored() if found_in(content, PLANTED)}
        assert hits == {"careless (metadata)"}
    finally:
        careless.unlink()
        everything.swift.client().delete_object(Bucket=everything.bucket, Key="careless")
