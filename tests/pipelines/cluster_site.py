"""The package for a cluster, executed for real: by KFP's local runner, with a folder in place of the shared volume."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import mlflow

from pipelines.cluster.data_version import read_data_version
from pipelines.cluster.package import compile_for_cluster
from pipelines.dag.graph import graph_of
from pipelines.dag.params import load_params
from tests.pipelines.clusters import cluster

_RUNNER = """
import sys
from kfp import components, local
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[2])
components.load_component_from_text(open(sys.argv[1]).read())()
"""


@dataclass(frozen=True)
class Site:
    """A project with data pushed to a DVC remote, and a folder for a volume.

    Attributes:
        project: With the tiny data set.
        folder: Holds ``remote``, ``volume``, the tracking store and the outputs of each run.
    """

    project: Any
    folder: Path

    @property
    def store(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"

    def run(
        self,
        name: str,
        change: Callable[[dict[str, Any]], Any] = lambda params: None,
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> tuple[int, str, Path]:
        """Compile for a cluster and execute; exit code, what was said, and the folder of the run's outputs."""
        params = load_params(graph_of("d3d"), self.project.folder / "params.yaml")
        change(params)
        section = cluster(
            volume={"claim": "none", "path": str(self.folder / "volume")},
            environment={"MLFLOW_TRACKING_URI": self.store},
            steps={"default": {"retries": 0}},
        )
        package = self.folder / f"{name}.yaml"
        package.write_text(compile_for_cluster("d3d", params, section, data=read_data_version(self.project.folder)))
        known = {"KINEFLOW_RUN_ID": name, "MLFLOW_TRACKING_URI": self.store}
        done = subprocess.run(
            [sys.executable, "-c", _RUNNER, str(package), str(self.folder / name)],
            cwd=self.folder, env={**os.environ, **known, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=3600, check=False,
        )  # fmt: skip
        (outputs,) = (self.folder / name).glob("d3d-*")
        return done.returncode, done.stdout, outputs

    def parent(self, run_id: str) -> Any:
        """The record of a run."""
        client = mlflow.MlflowClient(self.store)
        experiments = [each.experiment_id for each in client.search_experiments()]
        query = f"tags.`kineflow.kind` = 'pipeline' AND tags.`pipeline.run_id` = '{run_id}'"
        (found,) = client.search_runs(experiments, query)
        return found
