"""``deploy/kubeflow`` as Kustomize builds it, over what Kubeflow's own folders give, and what Kubeflow says of them."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any

import pytest
import yaml

from pipelines.dag.cluster_settings import ClusterParams
from tests.deploy.kubeflow.excerpts import BASES, KFP, base_file, excerpt, namespaces_named
from tests.deploy.manifests import DEPLOY, NAMESPACE, ROOT, Manifest, built, names, of_kind

FOLDER = DEPLOY / "kubeflow"
REPOSITORY = "https://github.com/kubeflow/pipelines.git"


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, ...]:
    """All that is applied. Kustomize fetches the base by git, from a repository of the excerpts."""
    repository = tmp_path_factory.mktemp("kubeflow")
    for base in BASES:
        folder = repository / "manifests" / "kustomize" / base
        folder.mkdir(parents=True)
        (folder / "objects.yaml").write_bytes(base_file(base).read_bytes())
        (folder / "kustomization.yaml").write_text("resources: [objects.yaml]\n")
    settings = repository / "gitconfig"
    settings.write_text(
        f'[url "file://{repository}"]\n insteadOf = {REPOSITORY}\n[protocol "file"]\n allow = always\n'
        "[user]\n name = test\n email = test@example.com\n[commit]\n gpgsign = false\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", str(settings))
        for words in (["init", "-q"], ["add", "manifests"], ["commit", "-q", "-m", "base"], ["tag", KFP]):
            subprocess.run(["git", *words], cwd=repository, check=True, env=os.environ)
        return built(str(FOLDER))


def test_no_namespace_of_kubeflows_is_left(objects: tuple[Manifest, ...]) -> None:
    text = yaml.safe_dump_all(objects, width=1000)
    assert namespaces_named("".join(base_file(base).read_text() for base in BASES)), "the search finds what is there"
    assert not namespaces_named(text)
    assert {one["metadata"].get("namespace") for one in objects} == {NAMESPACE, None}
    assert names(objects, "Namespace") == {NAMESPACE}
    assert "seaweedfs.kineflow.svc:9000" in _data(objects, "workflow-controller-configmap")["artifactRepository"]


def test_every_object_of_the_base_is_there(objects: tuple[Manifest, ...]) -> None:
    base = [one for each in BASES for one in yaml.safe_load_all(base_file(each).read_text())]
    assert len(base) == len(objects)


def test_the_version_is_that_of_the_sdk() -> None:
    pinned = re.findall(r"\?ref=([^&\s]+)", (FOLDER / "kustomization.yaml").read_text())
    sdk = re.search(r"^kfp==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert sdk is not None
    assert {*pinned, KFP} == {sdk[1]}


def test_the_namespace_is_the_one_that_the_other_overlays_make(objects: tuple[Manifest, ...]) -> None:
    (theirs,) = of_kind(objects, "Namespace")
    (ours,) = [one for one in of_kind(built("minimal"), "Namespace") if one["metadata"]["name"] == NAMESPACE]
    assert theirs["metadata"]["labels"] == ours["metadata"]["labels"]


def test_artifacts_go_to_the_object_store_beside_and_not_to_the_launchers_default(
    objects: tuple[Manifest, ...],
) -> None:
    data = _data(objects, "kfp-launcher")
    words = dict(re.findall(r'(\w+) += "([^"]+)"', excerpt("default_root")))
    assert words["configMapName"] == "kfp-launcher"
    assert data[words["configKeyDefaultPipelineRoot"]] == words["defaultPipelineRoot"]
    provider = yaml.safe_load(data[words["configBucketProviders"]])["minio"]["default"]
    assert set(provider) <= set(re.findall(r'json:"(\w+)"', excerpt("provider_keys")))
    store = {"seaweedfs"} & names(objects, "Service")
    (default,) = re.findall(r'"(.+:\d+)"', excerpt("default_endpoint"))
    assert default == "seaweedfs.kubeflow:9000"
    assert {provider["endpoint"]} == {f"{name}.{NAMESPACE}:9000" for name in store}
    assert provider["credentials"]["secretRef"] == {
        "secretName": words["minioArtifactSecretName"],
        "accessKeyKey": words["minioArtifactAccessKeyKey"],
        "secretKeyKey": words["minioArtifactSecretKeyKey"],
    }
    assert f'"region":     "{provider["region"]}"' in excerpt("default_session")
    assert _variables(objects, "ml-pipeline")["OBJECTSTORECONFIG_HOST"] in store


def test_steps_run_as_the_account_that_the_other_overlays_make(objects: tuple[Manifest, ...]) -> None:
    account = _variables(objects, "ml-pipeline")["DEFAULTPIPELINERUNNERSERVICEACCOUNT"]
    assert account in names(built("minimal"), "ServiceAccount")


def test_nothing_is_said_of_retries_so_that_a_failed_step_is_tried_again(objects: tuple[Manifest, ...]) -> None:
    theirs = _defaults(tuple(yaml.safe_load_all(base_file(BASES[1]).read_text())))
    assert theirs.pop("templateDefaults") == {"retryStrategy": {"limit": "2", "retryPolicy": "OnError"}}
    assert _defaults(objects) == theirs
    assert "Limit" in excerpt("retry_strategy")
    assert "RetryPolicy:" not in excerpt("retry_strategy"), "Kubeflow names none in a step, so Argo's default holds"
    no_policy = excerpt("retry_policy").partition('Expression == ""')[2]
    assert no_policy.split()[:3] == ["{", "return", "RetryPolicyOnFailure"]


def test_a_pod_that_is_deleted_counts_as_failed_and_is_tried_again(objects: tuple[Manifest, ...]) -> None:
    assert 'markNodeError(ctx, node.Name, argoerrors.New("", "pod deleted"))' in excerpt("pod_deleted")
    assert "wfv1.NodeFailed" in excerpt("pod_failed")
    assert 'os.Getenv(common.EnvVarPodStatusCaptureFinalizer) == "true"' in excerpt("pod_finalizer")
    (name,) = re.findall(r'"(\w+)"', excerpt("pod_finalizer_name"))
    assert _variables(objects, "workflow-controller")[name] == "true"


def test_the_agent_keeps_workflows_as_long_as_a_run_does_by_default(objects: tuple[Manifest, ...]) -> None:
    assert "s.ttlSecondsAfterWorkflowFinish" in excerpt("agent_ttl")
    kept = _variables(objects, "ml-pipeline-persistenceagent")["TTL_SECONDS_AFTER_WORKFLOW_FINISH"]
    assert int(kept) == ClusterParams.model_fields["keep_finished_sec"].default


def test_the_page_installs_it_by_two_commands() -> None:
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    section = page.partition("\n## 1. ")[2].partition("\n## 2. ")[0]
    (block,) = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert len(block.splitlines()) == 2
    assert str(FOLDER.relative_to(ROOT)) in block


def _data(objects: tuple[Manifest, ...], name: str) -> dict[str, str]:
    (found,) = [one for one in of_kind(objects, "ConfigMap") if one["metadata"]["name"] == name]
    data: dict[str, str] = found["data"]
    return data


def _defaults(objects: tuple[Manifest, ...]) -> dict[str, Any]:
    """What Argo's controller gives workflows that say nothing."""
    spec: dict[str, Any] = yaml.safe_load(_data(objects, "workflow-controller-configmap")["workflowDefaults"])["spec"]
    return spec


def _variables(objects: tuple[Manifest, ...], name: str) -> dict[str, str]:
    """Plain variables of a deployment's one container."""
    (found,) = [one for one in of_kind(objects, "Deployment") if one["metadata"]["name"] == name]
    (container,) = found["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}
