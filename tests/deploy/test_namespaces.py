"""What runs as a pipeline cannot get at MLflow's or the database's secrets: they lie in a namespace out of its reach.

Whoever may create pods in a namespace, if only by way of a TrainJob, can mount every secret of it, act as every account
of it, and give its pods any labels. So all is looked at from *any* pod and account of the runner's namespace.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.deploy.manifests import (
    MLFLOW_NAMESPACE,
    NAMESPACE,
    OVERLAYS,
    ROOT,
    Manifest,
    built,
    containers,
    names,
    of_kind,
    references,
    secrets,
    selects,
    workloads,
)
from tests.deploy.network import NAME_LABEL, namespace_labels

RUNNER = "kineflow-runner"

# Whose pods are not of our making: the cluster's DNS, an ingress controller, an S3 server.
NAMESPACES_OF_OTHERS = {"kube-system", "ingress-nginx", "storage"}

# Cluster-wide, and no secret in them: what a TrainJob may be made of.
READ_BY_ALL = {("trainer.kubeflow.org", "clustertrainingruntimes", verb) for verb in ("get", "list")}


class Right(NamedTuple):
    """What an account may do."""

    namespace: str | None  # None: in every one
    group: str
    resource: str
    verb: str


@pytest.fixture(params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> tuple[Manifest, ...]:
    return built(str(request.param))


def test_no_secret_in_reach_of_the_runner_is_mlflows_or_the_databases(objects: tuple[Manifest, ...]) -> None:
    assert NAMESPACE in _namespaces_of_pods_made_by(objects, RUNNER), "the runner makes training jobs"
    assert not _exposed(objects, secrets())
    assert {"kineflow-database", "kineflow-mlflow-s3"} <= _secrets_of_servers(objects)


def test_the_runner_finds_the_secrets_of_the_steps_and_no_other(objects: tuple[Manifest, ...]) -> None:
    in_reach = {one["metadata"]["name"] for one in secrets() if one["metadata"]["namespace"] == NAMESPACE}
    asked_for = {"kineflow-mlflow-reader"}  # of a served model; it may do less than the steps' own account
    asked_for |= {"kineflow-webhook"}  # of a team that wants to be told
    for path in _parameter_files():
        asked_for |= set(_cluster(path).get("secrets", {}).values())
    assert in_reach == asked_for


@pytest.mark.parametrize("name", ["kineflow-database", "kineflow-mlflow-s3", "kineflow-mlflow-admin"])
def test_a_secret_in_the_wrong_namespace_would_be_found(name: str) -> None:
    objects, moved = built("production"), copy.deepcopy(secrets())
    for one in moved:
        if one["metadata"]["name"] == name:
            one["metadata"]["namespace"] = NAMESPACE
    assert name in _exposed(objects, moved)


def test_no_account_of_the_runners_namespace_has_a_right_outside_of_it(objects: tuple[Manifest, ...]) -> None:
    assert not _reaching_out(objects)


@pytest.mark.parametrize(
    "subject",
    [
        {"kind": "ServiceAccount", "name": RUNNER, "namespace": NAMESPACE},
        {"kind": "ServiceAccount", "name": "default", "namespace": NAMESPACE},
        {"kind": "Group", "name": f"system:serviceaccounts:{NAMESPACE}"},
        {"kind": "Group", "name": "system:serviceaccounts"},
        {"kind": "Group", "name": "system:authenticated"},
    ],
    ids=lambda subject: subject["name"],
)
@pytest.mark.parametrize("kind", ["RoleBinding", "ClusterRoleBinding"])
def test_a_right_that_reaches_out_would_be_found(subject: dict[str, str], kind: str) -> None:
    rule = {"apiGroups": ["trainer.kubeflow.org"], "resources": ["trainjobs"], "verbs": ["create"]}
    role = {"kind": "ClusterRole", "metadata": {"name": "train"}, "rules": [rule]}
    binding = {"kind": kind, "metadata": {"name": "x"}, "roleRef": {"kind": "ClusterRole", "name": "train"}}
    if kind == "RoleBinding":
        binding["metadata"] = {"name": "x", "namespace": MLFLOW_NAMESPACE}
    assert _reaching_out((*built("minimal"), role, binding | {"subjects": [subject]}))


def test_a_pod_of_the_runner_cannot_go_round_by_the_machine(objects: tuple[Manifest, ...]) -> None:
    """Kubernetes refuses pods that take the machine's files or network, where other namespaces' pods are seen."""
    for namespace, levels in ((NAMESPACE, {"baseline", "restricted"}), (MLFLOW_NAMESPACE, {"restricted"})):
        assert namespace_labels(objects, namespace)["pod-security.kubernetes.io/enforce"] in levels


def test_policies_name_namespaces_and_pods_that_there_are(objects: tuple[Manifest, ...]) -> None:
    """A misspelt name would be a policy that opens nothing, or, of another's namespace, one that opens too much."""
    ours = {NAMESPACE, MLFLOW_NAMESPACE}
    for policy, peer in _peers(objects):
        if "namespaceSelector" not in peer:
            continue
        assert set(peer["namespaceSelector"]) == {"matchLabels"}, policy
        assert set(peer["namespaceSelector"]["matchLabels"]) == {NAME_LABEL}, policy
        namespace = peer["namespaceSelector"]["matchLabels"][NAME_LABEL]
        assert namespace in ours | NAMESPACES_OF_OTHERS, policy
        assert namespace not in ours or "podSelector" in peer, f"{policy} lets a whole namespace of ours through"
        if namespace == MLFLOW_NAMESPACE:
            assert [
                one
                for one in workloads(objects)
                if one["metadata"]["namespace"] == namespace
                and selects(peer["podSelector"], one["spec"]["template"]["metadata"]["labels"])
            ], policy


def test_steps_call_mlflow_by_the_name_of_its_service_and_namespace(objects: tuple[Manifest, ...]) -> None:
    addresses = {
        f"http://{one['metadata']['name']}.{one['metadata']['namespace']}.svc:{port['port']}"
        for one in of_kind(objects, "Service")
        for port in one["spec"]["ports"]
    }
    sections = {path.name: _cluster(path).get("environment", {}) for path in _parameter_files()}
    called = {name: found["MLFLOW_TRACKING_URI"] for name, found in sections.items() if "MLFLOW_TRACKING_URI" in found}
    assert "params.yaml" in called
    assert not {name: address for name, address in called.items() if address not in addresses}


def _exposed(objects: tuple[Manifest, ...], known: tuple[Manifest, ...]) -> set[str]:
    """Secrets of MLflow or its database in namespaces in which the runner may make pods."""
    in_reach = _namespaces_of_pods_made_by(objects, RUNNER)
    return {one["metadata"]["name"] for one in known if one["metadata"]["namespace"] in in_reach} & _secrets_of_servers(
        objects
    )


def _secrets_of_servers(objects: tuple[Manifest, ...]) -> set[str]:
    """Secrets that the servers of an overlay read."""
    servers = [one for one in workloads(objects) if one["kind"] != "Job"]
    assert all(containers(one["spec"]["template"]) for one in servers)
    return {name for one in servers for kind, name in references(one["spec"]["template"]) if kind == "Secret"}


def _namespaces_of_pods_made_by(objects: tuple[Manifest, ...], account: str) -> set[str]:
    """Namespaces in which an account may create anything that becomes pods."""
    makers = {"pods", "jobs", "cronjobs", "deployments", "statefulsets", "daemonsets", "trainjobs", "workflows", "*"}
    found: set[str] = set()
    for right in _rights(objects, {account}):
        if right.verb in ("create", "update", "patch", "*") and right.resource in makers:
            found |= {right.namespace} if right.namespace else names(objects, "Namespace")
    return found


def _reaching_out(objects: tuple[Manifest, ...]) -> set[Right]:
    """Rights that some account of the runner's namespace has elsewhere."""
    return {
        right
        for right in _rights(objects, None)
        if right.namespace != NAMESPACE and (right.namespace is not None or right[1:] not in READ_BY_ALL)
    }


def _rights(objects: tuple[Manifest, ...], accounts: set[str] | None) -> Iterator[Right]:
    """What service accounts of the runner's namespace may do; all of them for None."""
    rules = {
        (one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]): one["rules"]
        for one in of_kind(objects, "Role", "ClusterRole")
    }
    for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding"):
        if not any(_is_of_the_runners_namespace(subject, accounts) for subject in binding["subjects"]):
            continue
        namespace, role = binding["metadata"].get("namespace"), binding["roleRef"]
        for rule in rules[role["kind"], namespace if role["kind"] == "Role" else None, role["name"]]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    yield from (Right(namespace, group, resource, verb) for verb in rule["verbs"])


def _is_of_the_runners_namespace(subject: Manifest, accounts: set[str] | None) -> bool:
    if subject["kind"] == "ServiceAccount":
        return subject["namespace"] == NAMESPACE and (accounts is None or subject["name"] in accounts)
    # Kubernetes' groups of service accounts, and of all who have a token.
    return subject["kind"] == "Group" and subject["name"] in {
        f"system:serviceaccounts:{NAMESPACE}", "system:serviceaccounts", "system:authenticated",
    }  # fmt: skip


def _peers(objects: tuple[Manifest, ...]) -> Iterator[tuple[str, Manifest]]:
    """Every peer of every policy, with the policy's name."""
    for policy in of_kind(objects, "NetworkPolicy"):
        for way, peers in (("ingress", "from"), ("egress", "to")):
            for rule in policy["spec"].get(way, []):
                yield from ((policy["metadata"]["name"], peer) for peer in rule.get(peers, []))


def _parameter_files() -> list[Path]:
    return [ROOT / "params.yaml", *(ROOT / "params").glob("*.yaml")]


def _cluster(path: Path) -> dict[str, Any]:
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("cluster") or {}
