"""A server to submit to, a parameter file with a cluster section, and the command line in this process."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.cluster import package as cluster_package
from pipelines.submission import checks, follow, server
from pipelines.submission.access import Access
from pipelines.submission.checks import Package
from pipelines.submission.submit import RunOptions, Submission
from pipelines.submission.submit import submit as submit_package
from tests.pipelines.submission.kfp_server import KfpServer, kfp_server

ROOT = Path(__file__).resolve().parents[3]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CLUSTER: dict[str, Any] = {
    "image": f"registry.example.com/team/kineflow-python@sha256:{'a' * 64}",
    "volume": {"claim": "kineflow-data", "path": "/cache"},
}


@pytest.fixture
def kfp() -> Iterator[KfpServer]:
    with kfp_server() as served:
        yield served
    assert served.violations == []


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of milliseconds, and no configuration from outside."""
    monkeypatch.setattr(server, "FIRST_DELAY_SEC", 0.01)
    monkeypatch.setattr(server, "MOST_DELAY_SEC", 0.05)
    monkeypatch.setattr(follow, "FIRST_INTERVAL_SEC", 0.01)
    monkeypatch.setattr(follow, "MOST_INTERVAL_SEC", 0.05)
    for name in (
        "KF_PIPELINES_ENDPOINT", "KF_PIPELINES_UI_ENDPOINT", "KF_PIPELINES_TOKEN", "KF_PIPELINES_TOKEN_PATH",
        "SSL_CERT_FILE",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KUBECONFIG", "/dev/null/none")


@pytest.fixture
def clean_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository without changes, whatever the one around these tests is like."""
    monkeypatch.setattr(checks, "git_tags", lambda root: {"git.commit": COMMIT, "git.dirty": "false"})


@pytest.fixture
def params(tmp_path: Path) -> Callable[..., Path]:
    """Writes a parameter file of the recipe d3d that reads its videos from a bucket."""

    def write(cluster: dict[str, Any] | None = CLUSTER, **changes: Any) -> Path:
        content = yaml.safe_load((ROOT / "params.yaml").read_text())
        content["ingestion"]["source"] = "s3://videos/demo"
        content.pop("cluster", None)
        content |= changes
        if cluster is not None:
            content["cluster"] = cluster
        path = tmp_path / "cluster.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling the same thing takes a second each time, and gives the same."""
    monkeypatch.setattr(cluster_package, "compile_for_cluster", _compile)


_REAL_COMPILE = cluster_package.compile_for_cluster
_COMPILED: dict[str, str] = {}


@functools.wraps(_REAL_COMPILE)
def _compile(recipe: str, params: Any, cluster: Any, **rest: Any) -> str:
    key = repr((recipe, json.dumps(params, sort_keys=True), cluster, sorted(rest.items())))
    if key not in _COMPILED:
        _COMPILED[key] = _REAL_COMPILE(recipe, params, cluster, **rest)
    return _COMPILED[key]


SMALL_PACKAGE = """
pipelineInfo: {name: d3d}
schemaVersion: 2.1.0
root:
  inputDefinitions: {parameters: {seed: {parameterType: NUMBER_INTEGER, defaultValue: 1}}}
  dag:
    tasks:
      train: {taskInfo: {name: teacher}, componentRef: {name: comp-train}}
components: {comp-train: {executorLabel: exec-train}}
deploymentSpec: {executors: {exec-train: {container: {image: example, command: [python]}}}}
"""


@pytest.fixture
def send(kfp: KfpServer) -> Callable[..., Submission]:
    """Submit a small package to the double, past the checks."""

    def call(name: str = "", cron: str = "", text: str = SMALL_PACKAGE, patience_sec: float = 60.0) -> Submission:
        package = Package("d3d", text, CLUSTER["image"], None, COMMIT, False)
        api = server.Server(Access(kfp.url, kfp.url), patience_sec=patience_sec)
        return submit_package(api, package, RunOptions("kineflow", name, cron=cron))

    return call


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """What it printed, which must be one JSON object."""
        found: dict[str, Any] = json.loads(self.out)
        return found


@pytest.fixture
def cli() -> Callable[..., Ended]:
    """The command line, in this process."""

    def call(*words: object) -> Ended:
        result = CliRunner().invoke(app, [str(word) for word in words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ended(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture
def submit(
    cli: Callable[..., Ended], kfp: KfpServer, params: Callable[..., Path], clean_tree: None
) -> Callable[..., Ended]:
    """``kineflow submit d3d`` to the double."""

    def call(*words: object, file: Path | None = None, host: str = "") -> Ended:
        return cli("submit", "d3d", "--host", host or kfp.url, "--params", file or params(), *words)

    return call
