"""``kineflow submit``: what it makes on a server, and what it makes only once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from kineflow.storage.errors import KineflowError
from pipelines.engines.axes import Axes
from pipelines.submission import repeats
from pipelines.submission.submit import RunOptions
from tests.pipelines.submission.conftest import CLUSTER, COMMIT, Ended
from tests.pipelines.submission.kfp_server import Fault, KfpServer

Submit = Callable[..., Ended]


def test_a_submit_makes_a_pipeline_a_version_an_experiment_and_a_run(kfp: KfpServer, submit: Submit) -> None:
    ended = submit("--json", "--experiment", "trials", "--service-account", "runner")
    assert ended.code == 0, ended.err
    (pipeline,), (version,) = kfp.pipelines.values(), kfp.versions.values()
    (experiment,), (run,) = kfp.experiments.values(), kfp.runs.values()
    assert pipeline["name"] == "d3d"
    assert experiment["display_name"] == "trials"
    assert run["experiment_id"] == experiment["experiment_id"]
    assert run["service_account"] == "runner"
    assert run["pipeline_version_reference"]["pipeline_version_id"] == version["pipeline_version_id"]
    assert ended.json == {
        "recipe": "d3d",
        "experiment": "trials",
        "experiment_id": experiment["experiment_id"],
        "pipeline": "d3d",
        "pipeline_id": pipeline["pipeline_id"],
        "version": version["name"],
        "version_id": version["pipeline_version_id"],
        "version_reused": False,
        "name": run["display_name"],
        "url": f"{kfp.url}/#/runs/details/{run['run_id']}",
        "state": "PENDING",
        "run_id": run["run_id"],
    }


@pytest.mark.parametrize("schedule", [(), ("--schedule", "0 3 * * *")], ids=["run", "schedule"])
def test_kubeflows_mlflow_plugin_is_told_of_the_experiment_where_it_is_named(
    kfp: KfpServer, cli: Callable[..., Ended], params: Callable[..., Path], schedule: tuple[str, ...]
) -> None:
    """The double holds the message to the API of 2.17; without a name nothing is said of a plugin."""
    for cluster in (CLUSTER, CLUSTER | {"mlflow_experiment": "d3d"}):
        path = params(cluster)
        ended = cli("submit", "d3d", "--host", kfp.url, "--params", path, "--allow-dirty", *schedule)
        assert ended.code == 0, ended.err
    told = [request.body.get("plugins_input") for request in kfp.requests if request.body and "display_name" in
            request.body and "runtime_config" in request.body]  # fmt: skip
    assert told == [None, {"mlflow": {"experiment_name": "d3d"}}]


def test_the_version_is_named_by_commit_and_content(kfp: KfpServer, submit: Submit) -> None:
    assert submit().code == 0
    ((version_id, package),) = kfp.packages.items()
    assert kfp.versions[version_id]["name"] == f"{COMMIT[:8]}-{hashlib.sha256(package.encode()).hexdigest()[:8]}"


def test_the_run_says_the_parameters_that_are_in_the_package(kfp: KfpServer, submit: Submit) -> None:
    assert submit().code == 0
    (run,), (package,) = kfp.runs.values(), kfp.packages.values()
    compiled = next(yaml.safe_load_all(package))["root"]["inputDefinitions"]["parameters"]
    assert run["runtime_config"]["parameters"] == {name: each["defaultValue"] for name, each in compiled.items()}
    assert run["runtime_config"]["parameters"]["ingestion"]["source"] == "s3://videos/demo"


def test_a_second_submit_uses_the_version_again(kfp: KfpServer, submit: Submit) -> None:
    first, second = submit("--json"), submit("--json")
    assert not first.json["version_reused"]
    assert second.json["version_reused"]
    assert first.json["version_id"] == second.json["version_id"]
    assert first.json["run_id"] != second.json["run_id"]
    assert [len(each) for each in (kfp.pipelines, kfp.versions, kfp.experiments, kfp.runs)] == [1, 1, 1, 2]
    assert len(kfp.asked("POST", "/upload_version")) == 1


@pytest.mark.slow
def test_changed_content_is_a_version_of_its_own(kfp: KfpServer, submit: Submit, params: Callable[..., Path]) -> None:
    first, second = submit("--json"), submit("--json", file=params(seed=2))
    assert first.json["version"] != second.json["version"]
    assert len(kfp.versions) == 2
    assert len(kfp.pipelines) == 1


@pytest.mark.slow
def test_a_run_for_each_seed_once_all_are_checked(kfp: KfpServer, submit: Submit) -> None:
    runs = submit("--seeds", "1,5", "--json").json["runs"]
    assert [run["name"] for run in runs] == ["d3d, seed 1", "d3d, seed 5"]
    started = [run["runtime_config"]["parameters"]["seed"] for run in kfp.runs.values()]
    assert started == [1, 5]
    refused = submit("--seeds", "1,2147483648")
    assert (refused.code, len(kfp.runs)) == (2, 2)
    assert "one" in submit("--seeds", "1,2", "--watch").err


def test_runs_that_are_started_are_named_where_a_later_one_is_refused(
    params: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_the_third(server: Any, package: Any, options: Any) -> Any:
        if len(said) == 2:
            raise KineflowError("the server is out of reach")
        return SimpleNamespace(run_id=f"id-{len(said)}", name=options.name)

    said: list[str] = []
    monkeypatch.setattr(repeats, "submit", refuse_the_third)
    file = params()
    options, axes = RunOptions("kineflow"), Axes(seeds=(1, 2, 3, 4))
    with pytest.raises(KineflowError, match="out of reach") as caught:
        repeats.submit_each("d3d", file, file.parent, axes, lambda _: (Any, Any), options, said.append)  # type: ignore
    assert all(words in str(caught.value) for words in ("id-0", "id-1", "--seeds 3,4"))


def test_no_cache_is_compiled_in(kfp: KfpServer, submit: Submit) -> None:
    cached, uncached = submit("--json"), submit("--json", "--no-cache")
    assert _caching(kfp.packages[cached.json["version_id"]]) > 0
    assert _caching(kfp.packages[uncached.json["version_id"]]) == 0


@pytest.mark.slow
def test_an_image_can_be_given_in_place_of_the_files(kfp: KfpServer, submit: Submit) -> None:
    image = f"registry.example.com/other@sha256:{'b' * 64}"
    assert submit("--image", image).code == 0
    (package,) = kfp.packages.values()
    spec = next(yaml.safe_load_all(package))
    assert {each["container"]["image"] for each in spec["deploymentSpec"]["executors"].values()} == {image}


def test_a_namespace_is_where_everything_is_made(kfp: KfpServer, submit: Submit) -> None:
    kfp.multi_user = True
    assert submit("--namespace", "anna").code == 0
    assert [each["namespace"] for each in (*kfp.pipelines.values(), *kfp.experiments.values())] == ["anna", "anna"]
    assert submit("--namespace", "berta").code == 0
    assert len(kfp.pipelines) == len(kfp.experiments) == 2


def test_what_people_read_names_version_run_and_page(kfp: KfpServer, submit: Submit) -> None:
    ended = submit()
    ((run_id, _),) = kfp.runs.items()
    assert f"run      {run_id}" in ended.out
    assert f"{kfp.url}/#/runs/details/{run_id}" in ended.out
    assert f"kineflow runs watch {run_id}" in ended.out
    assert "there already" in submit().out


def test_with_json_standard_output_holds_one_object(submit: Submit) -> None:
    ended = submit("--json")
    assert ended.out.count("\n") == 1
    assert "page " in ended.err


def test_a_server_that_is_something_else_is_told_apart(kfp: KfpServer, submit: Submit) -> None:
    kfp.fail("GET", "/names/{name}", Fault(body=b"{}"))
    ended = submit()
    assert ended.code == 2
    assert "has no pipeline_id" in ended.err
    assert kfp.runs == {}


def _caching(package: str) -> int:
    """How many tasks of a package may take a cached result."""
    spec = next(yaml.safe_load_all(package))
    dags = [spec["root"]["dag"], *(each["dag"] for each in spec["components"].values() if "dag" in each)]
    found = [task.get("cachingOptions", {}).get("enableCache") for dag in dags for task in dag["tasks"].values()]
    return sum(found_one is True for found_one in found)
