"""The package for a cluster is reviewed in diffs; ``python -m tests.pipelines.test_cluster_package`` writes it anew."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.frontend.attempts import NODE
from components.kubernetes.labels import ARGO_NODE
from components.launch.kept_work import VOLUME
from kineflow.storage.errors import KineflowError
from pipelines.cluster.package import compile_for_cluster
from pipelines.cluster.resources import WITH_SIDE_EFFECTS
from pipelines.dag.graph import graph_of
from pipelines.dag.params import demo_params, graph_for, load_cluster, load_params
from pipelines.dag.recipes import recipe_names
from pipelines.dag.sources import ROOT
from pipelines.dag.step_digest import step_digests
from tests.deploy.kubeflow.excerpts import BASES, base_file, excerpt
from tests.pipelines.clusters import DATA, IMAGE, cluster
from tests.pipelines.dag.test_package import without_digests

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parents[1] / "golden" / "cluster_d3d.yaml"


def compiled(recipe: str = "d3d", params: dict[str, Any] | None = None, **options: Any) -> str:
    graph = graph_of(recipe)
    given = load_params(graph, ROOT / demo_params(recipe))
    for key, changes in (params or {}).items():
        given[key] |= changes
    return compile_for_cluster(recipe, given, **({"cluster": cluster(), "data": DATA} | options))


def documents(*args: Any, **options: Any) -> tuple[Any, Any]:
    pipeline, platform = yaml.safe_load_all(compiled(*args, **options))
    return pipeline, platform["platforms"]["kubernetes"]


@pytest.fixture(scope="module")
def package() -> tuple[Any, Any]:
    return documents()


def tasks_of(pipeline: Any) -> dict[str, Any]:
    """All tasks by KFP's name, whatever group they are in."""
    groups = [pipeline["root"], *pipeline["components"].values()]
    return {name: task for group in groups for name, task in group.get("dag", {}).get("tasks", {}).items()}


def test_the_package_is_the_golden_one() -> None:
    assert without_digests(compiled()) == GOLDEN.read_text(), __doc__


def test_the_record_has_the_parameters_as_they_were_given(package: tuple[Any, Any]) -> None:
    """Not with the places that they have on the cluster, so that runs here and there compare."""
    container = package[0]["deploymentSpec"]["executors"]["exec-close-run"]["container"]
    [recorded] = [json.loads(each["value"]) for each in container["env"] if each["name"] == "KINEFLOW_PARAMS"]
    assert recorded == load_params(graph_of("d3d"), demo_params("d3d"))


# Of a paper; that for few clips has none.
@pytest.mark.parametrize("recipe", sorted(set(recipe_names()) - {"few_clips"}))
def test_every_recipe_compiles_at_full_size_with_its_own_cluster_section(recipe: str) -> None:
    graph, path = graph_of(recipe), ROOT / "params" / f"{recipe}_ucf101.yaml"
    section = load_cluster(path)
    assert section is not None
    named = section.model_copy(update={"image": IMAGE})
    pipeline, platform = yaml.safe_load_all(compile_for_cluster(recipe, load_params(graph, path), named, data=None))
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(executors) == set(pipeline["deploymentSpec"]["executors"])
    assert "fetch-data" not in tasks_of(pipeline)


def test_optional_steps_that_parameters_ask_for_are_there(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text() + "\ndescriptor: {}\n")
    given = load_params(graph_for("d3d", path), path)
    pipeline, platform = yaml.safe_load_all(compile_for_cluster("d3d", given, cluster(), data=DATA))
    assert {"pretrain-descriptor", "describe", "train-blend"} <= tasks_of(pipeline).keys()
    assert "exec-train-blend" in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def test_the_recipe_is_between_fetching_and_closing(package: tuple[Any, Any]) -> None:
    pipeline, _ = package
    root = pipeline["root"]["dag"]["tasks"]
    assert root["close-run"]["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    within = pipeline["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    assert within["ingest"]["dependentTasks"] == ["fetch-data"]
    assert within["ingest-2"]["dependentTasks"] == ["fetch-data", "ingest"]
    fetching = within["fetch-data"]["inputs"]["parameters"]["params"]["runtimeValue"]["constant"]
    assert fetching == {"remote": DATA.remote, "version": DATA.md5, "into": "/cache/data"}
    recipe = {task.name for task in graph_of("d3d").tasks} - {"ingest", "extract-flow"}  # which are dealt into shards
    assert recipe <= {task["taskInfo"]["name"] for task in within.values()}


@pytest.mark.parametrize(
    ("step", "gatherer", "output", "count"),
    [("ingest", "merge-clips", "clips", 2), ("extract-flow", "merge-flow", "flow", 3)],
)
def test_a_step_is_fanned_out_and_gathered(
    package: tuple[Any, Any], step: str, gatherer: str, output: str, count: int
) -> None:
    tasks = {task["taskInfo"]["name"]: task for task in tasks_of(package[0]).values() if "taskInfo" in task}
    shards = [f"{step}-{number}-of-{count}" for number in range(1, count + 1)]
    given = [tasks[name]["inputs"]["parameters"]["shard"]["runtimeValue"]["constant"] for name in shards]
    assert given == [f"{index}/{count}" for index in range(count)]
    within = package[0]["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    read = within[gatherer]["inputs"]["artifacts"]
    assert {within[made["taskOutputArtifact"]["producerTask"]]["taskInfo"]["name"] for made in read.values()} == {
        *shards
    }
    assert within["train"]["inputs"]["artifacts"][output]["taskOutputArtifact"]["producerTask"] == gatherer


@pytest.mark.parametrize(("shards", "at_once"), [(3, 2), (5, 2), (4, 4), (16, 3), (2, 8)])
def test_no_more_shards_than_allowed_run_at_once(shards: int, at_once: int) -> None:
    pipeline, _ = documents(cluster=cluster(flow_shards=shards, flow_shards_at_once=at_once))
    within = pipeline["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    waits_for = {name: set(task["dependentTasks"]) for name, task in within.items() if name.startswith("extract-flow")}
    finished: set[str] = {"merge-clips", "validate"}
    waves = []
    while waits_for.keys() - finished:
        waves.append({name for name in waits_for.keys() - finished if waits_for[name] <= finished})
        finished |= waves[-1]
    assert max(map(len, waves)) == min(shards, at_once)
    assert sum(map(len, waves)) == shards


def test_one_shard_needs_no_gathering() -> None:
    pipeline, _ = documents(cluster=cluster(ingest_shards=1, flow_shards=1))
    assert not {"merge-clips", "merge-flow"} & tasks_of(pipeline).keys()


def test_more_than_annotations_hold_is_said_before_a_server_refuses_it(caplog: pytest.LogCaptureFixture) -> None:
    compiled("d3d_variants", cluster=cluster(ingest_shards=16, flow_shards=16))
    assert "annotations" in caplog.text


def test_every_pod_gets_what_its_task_was_given(package: tuple[Any, Any]) -> None:
    pipeline, platform = package
    containers = {key: spec["container"] for key, spec in pipeline["deploymentSpec"]["executors"].items()}
    kubernetes = platform["deploymentSpec"]["executors"]
    teacher, plain, ingest = (containers[f"exec-{key}"]["resources"] for key in ("train", "train-2", "ingest"))
    assert (teacher["resourceMemoryLimit"], plain["resourceMemoryLimit"]) == ("64Gi", "8Gi")
    assert teacher["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert "accelerator" not in ingest
    assert kubernetes["exec-train"]["emptyDirMounts"][0]["mountPath"] == "/dev/shm"
    assert kubernetes["exec-train"]["nodeSelector"]["labels"] == {"gpu": "h200"}
    assert kubernetes["exec-train"]["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert (kubernetes["exec-train"]["activeDeadlineSeconds"], kubernetes["exec-train-2"]["activeDeadlineSeconds"]) == (
        "3600", "86400",
    )  # fmt: skip
    for key, container in containers.items():
        assert container["image"] == IMAGE, key
        assert kubernetes[key]["pvcMount"][0]["mountPath"] == "/cache", key
        assert {secret["secretName"] for secret in kubernetes[key]["secretAsEnv"]} == {"kineflow-s3", "kineflow-mlflow"}
        assert kubernetes[key]["securityContext"]["runAsNonRoot"] is True
        named = {entry["name"] for entry in kubernetes[key]["fieldPathAsEnv"]}
        assert "KINEFLOW_RUN_ID" in named  # an argument with the run's id would spoil the cache


def test_failed_tasks_are_tried_again_more_and_more_slowly(package: tuple[Any, Any]) -> None:
    for name, task in tasks_of(package[0]).items():
        if "retryPolicy" in task:
            assert task["retryPolicy"]["backoffFactor"] == 2.0, name
    assert tasks_of(package[0])["train"]["retryPolicy"]["maxRetryCount"] == 2


def test_caches_are_keyed_on_source_and_data_and_off_where_there_are_side_effects(package: tuple[Any, Any]) -> None:
    pipeline, _ = package
    for name, task in tasks_of(pipeline).items():
        if name.startswith("exit-handler"):
            continue
        step = task["componentRef"]["name"].removeprefix("comp-").rstrip("-0123456789").replace("-", "_")
        assert task["cachingOptions"] == ({} if step in WITH_SIDE_EFFECTS else {"enableCache": True}), name
    digests = step_digests(graph_of("d3d"), load_params(graph_of("d3d"), ROOT / "params.yaml"), ROOT)
    program = pipeline["deploymentSpec"]["executors"]["exec-train"]["container"]["command"][-1]
    assert program.startswith(f"\n# code: {digests['train']}\n")
    given = pipeline["root"]["inputDefinitions"]["parameters"]["ingestion"]["defaultValue"]["source"]
    assert DATA.md5.removesuffix(".dir") in given


def test_caching_can_be_turned_off_altogether() -> None:
    pipeline, _ = documents(caching=False)
    assert not any("enableCache" in task.get("cachingOptions", {}) for task in tasks_of(pipeline).values())


def test_training_on_many_nodes_is_a_job_that_a_small_pod_looks_after() -> None:
    again = cluster(steps={
        "default": {"cpu": "2", "retry_after_sec": 77},
        "train": {"gpus": 1, "shared_memory": "16Gi", "memory": "64Gi"},
    })  # fmt: skip
    pipeline, platform = documents(params={"teacher": {"nodes": 2, "devices": 1}}, cluster=again)
    assert tasks_of(pipeline)["train"]["retryPolicy"]["backoffDuration"] == "77s"
    executors = {key: spec["container"] for key, spec in pipeline["deploymentSpec"]["executors"].items()}
    variables = {entry["name"]: entry["value"] for entry in executors["exec-train"]["env"]}
    job = yaml.safe_load(variables["KINEFLOW_TRAINJOB"])
    assert job["image"] == IMAGE
    assert job["per_node"] == {"cpu": "2", "memory": "64Gi", "gpus": 1, "gpu_type": "nvidia.com/gpu"}
    assert job["volume"] == {"claim": "kineflow-data", "path": "/cache"}
    assert "accelerator" not in executors["exec-train"]["resources"]
    assert "emptyDirMounts" not in platform["deploymentSpec"]["executors"]["exec-train"]
    assert "KINEFLOW_TRAINJOB" not in {entry["name"] for entry in executors["exec-train-2"]["env"]}


def test_what_is_read_of_clips_on_s3_is_kept_on_a_disk_of_the_pod() -> None:
    pipeline, platform = documents(cluster=cluster(media="s3://bucket/media", s3_cache_mb=1000))
    (mounted,) = platform["deploymentSpec"]["executors"]["exec-ingest"]["emptyDirMounts"]
    given = {
        entry["name"]: entry["value"]
        for entry in pipeline["deploymentSpec"]["executors"]["exec-ingest"]["container"]["env"]
    }
    assert (mounted["mountPath"], mounted["sizeLimit"]) == (given["KINEFLOW_CACHE_DIR"], "1256M")
    assert given["KINEFLOW_CACHE_MB"] == "1000"


def test_a_run_is_stopped_and_tidied_away_in_the_end(package: tuple[Any, Any]) -> None:
    kept = {f"resourceTtlOn{end}": 604800 for end in ("Completion", "Success", "Failure")}
    assert package[1]["pipelineConfig"] == {"activeDeadlineSeconds": 604800, **kept}


def test_how_long_a_run_is_kept_is_said_in_every_word_that_kubeflows_controller_has_a_default_for(
    package: tuple[Any, Any],
) -> None:
    objects = yaml.safe_load_all(base_file(BASES[1]).read_text())
    (controller,) = [one for one in objects if one["metadata"]["name"] == "workflow-controller-configmap"]
    defaults = yaml.safe_load(controller["data"]["workflowDefaults"])["spec"]["ttlStrategy"]
    read = re.findall(r"pipelineConfig\.Get(\w+)\(\)", excerpt("ttl"))
    set_from = re.findall(r"strategy\.(\w+) = ", excerpt("ttl"))
    assert {f"s{name[1:]}" for name in set_from} == set(defaults)
    assert {f"r{name[1:]}" for name in read} == set(package[1]["pipelineConfig"]) - {"activeDeadlineSeconds"}


def test_a_steps_tries_end_with_the_run_and_not_before(package: tuple[Any, Any]) -> None:
    assert "firstChildNode.StartedAt.Add(maxDuration)" in excerpt("max_duration"), "of all tries, and not of a wait"
    assert "MaxDuration: backOffMaxDuration" in excerpt("retry_strategy")
    ends = {
        task["retryPolicy"]["backoffMaxDuration"] for task in tasks_of(package[0]).values() if "retryPolicy" in task
    }
    assert ends == {f"{package[1]['pipelineConfig']['activeDeadlineSeconds']}s"}


def test_every_step_knows_which_try_it_is_and_where_the_tries_before_have_left_word(package: tuple[Any, Any]) -> None:
    pipeline, platform = package
    for name, executor in pipeline["deploymentSpec"]["executors"].items():
        told = platform["deploymentSpec"]["executors"][name]["fieldPathAsEnv"]
        assert {"name": NODE, "fieldPath": f"metadata.annotations['{ARGO_NODE}']"} in told
        assert {"name": VOLUME, "value": "/cache"} in executor["container"]["env"]


def test_an_image_must_be_named() -> None:
    with pytest.raises(KineflowError, match="no image is named"):
        compiled(cluster=cluster(image=""))


def test_two_compilations_are_the_same() -> None:
    assert compiled() == compiled()  # submit names a version by its content


if __name__ == "__main__":
    GOLDEN.write_text(without_digests(compiled()))
