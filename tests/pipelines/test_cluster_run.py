"""The package for a cluster, executed for real: by KFP's local runner, with a folder in place of the shared volume."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml

from kineflow.sets.flow_set import FlowSet
from kineflow.tracking.store import prepare_store
from pipelines.cluster.data_version import read_data_version
from pipelines.cluster.package import compile_for_cluster
from pipelines.dag.graph import graph_of
from pipelines.dag.params import load_params
from tests.pipelines.clusters import cluster

pytestmark = pytest.mark.slow

RECIPE = "d3d"
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

    def run(self, name: str, change: Callable[[dict[str, Any]], Any] = lambda params: None) -> tuple[int, str, Path]:
        """Compile for a cluster and execute; exit code, what was said, and the folder of the run's outputs."""
        params = load_params(graph_of(RECIPE), self.project.folder / "params.yaml")
        change(params)
        section = cluster(
            volume={"claim": "none", "path": str(self.folder / "volume")},
            environment={"MLFLOW_TRACKING_URI": self.store},
            steps={"default": {"retries": 0}},
        )
        package = self.folder / f"{name}.yaml"
        package.write_text(compile_for_cluster(RECIPE, params, section, data=read_data_version(self.project.folder)))
        known = {"KINEFLOW_RUN_ID": name, "PYTHONPATH": str(self.project.folder), "MLFLOW_TRACKING_URI": self.store}
        done = subprocess.run(
            [sys.executable, "-c", _RUNNER, str(package), str(self.folder / name)],
            cwd=self.folder, env={**os.environ, **known}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=900, check=False,
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


@pytest.fixture(scope="module")
def site(project: Any, tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")

    def dvc(*arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "dvc", *arguments, "--quiet"], cwd=project.folder, check=True)

    dvc("add", "data")
    dvc("remote", "add", "--default", "store", str(folder / "remote"))
    dvc("push")
    made = Site(project, folder)
    prepare_store(made.store)
    return made


@pytest.fixture(scope="module")
def finished(site: Site) -> Path:
    code, said, outputs = site.run("whole")
    assert code == 0, said
    return outputs


def test_every_task_runs_and_the_data_are_fetched_by_their_hash(site: Site, finished: Path) -> None:
    ran = [path.parent.name for path in finished.rglob("executor_output.json")]
    assert len(ran) == len(graph_of(RECIPE).tasks) - 1 + 3 + len(("fetch-data", "merge-flow", "close-run"))
    assert {"fetch-data", "merge-flow", "close-run", "register"} <= set(ran)
    version = read_data_version(site.project.folder).md5.removesuffix(".dir")
    fetched = json.loads((finished / "fetch-data" / "data").read_text())
    assert Path(fetched["path"]) == site.folder / "volume" / "data" / version
    assert (Path(fetched["path"]) / "clips.csv").is_file()


def test_shards_make_one_flow_set_whose_media_lie_on_the_volume(site: Site, finished: Path) -> None:
    assert len(list(finished.rglob("extract-flow*/flow/flowset.json"))) == 3
    flow = FlowSet.load(finished / "merge-flow" / "flow")
    assert Path(flow.media_root).is_relative_to(site.folder / "volume" / "media")
    assert all(flow.locate(clip_id).is_file() for clip_id in flow.usable_ids())
    artifacts = [finished / "merge-flow", *finished.rglob("extract-flow*")]
    written = [path for folder in artifacts for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in written if path.suffix == ".mp4"]  # a launcher downloads every artifact whole


def test_the_run_is_closed_as_finished(site: Site, finished: Path) -> None:
    assert json.loads((finished / "close-run" / "closed").read_text()) == {"status": "FINISHED", "failures": {}}
    assert site.parent("whole").info.status == "FINISHED"


def test_a_failing_step_closes_the_run_as_failed_with_its_last_words(site: Site, finished: Path) -> None:
    code, said, outputs = site.run("broken", lambda params: params["validation"].update(min_frames=999))
    assert code != 0, said
    assert not (outputs / "train" / "executor_output.json").exists()
    assert json.loads((outputs / "close-run" / "closed").read_text())["status"] == "FAILED"
    record = site.parent("broken")
    assert record.info.status == "FAILED"
    assert "validate" in record.data.tags["error"]
    assert yaml.safe_load((site.folder / "broken.yaml").read_text().split("---")[0])["pipelineInfo"]["name"] == RECIPE
