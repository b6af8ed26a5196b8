"""What deploy/ sends to a cluster is valid for Kubernetes, safe by our own rules, and refers to what is there."""

from __future__ import annotations

import re

import kubernetes_validate
import pytest
import yaml

from pipelines.dag.cluster_settings import ClusterParams
from tests.deploy.manifests import (
    DEPLOY,
    MLFLOW_NAMESPACE,
    NAMESPACE,
    OVERLAYS,
    Manifest,
    built,
    command_line,
    containers,
    environment,
    names,
    of_kind,
    pods,
    references,
    secret_keys,
    secrets,
    selects,
    workloads,
)
from tests.deploy.network import Pod, reaches

pytestmark = pytest.mark.slow

# The oldest that Kubeflow Trainer 2 runs on, and the newest that the schemas are there for.
KUBERNETES = ("1.31", "1.37")

# The pods that others start in the namespace of pipelines.
PIPELINE_POD = Pod(
    NAMESPACE, {"pipelines.kubeflow.org/v2_component": "true", "workflows.argoproj.io/workflow": "d3d-x"}
)
TRAINING_POD = Pod(NAMESPACE, {"jobset.sigs.k8s.io/jobset-name": "teacher"})
KUBEFLOW_POD = Pod(NAMESPACE, {"application-crd-id": "kubeflow-pipelines", "app": "ml-pipeline"})
STRANGER = Pod(NAMESPACE, {"app": "somebody-else"})
DNS = Pod("kube-system", {"k8s-app": "kube-dns"})

# Not made by an overlay, and said to be needed in docs/cluster.md.
MADE_ELSEWHERE = {(MLFLOW_NAMESPACE, "Secret", "mlflow-tls")}


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def objects(overlay: str) -> tuple[Manifest, ...]:
    return built(overlay)


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_object_is_valid_by_the_schemas_of_kubernetes_and_has_no_unknown_key(
    objects: tuple[Manifest, ...], version: str
) -> None:
    for one in objects:
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_example_secrets_are_valid_by_the_schemas_of_kubernetes(version: str) -> None:
    for one in yaml.safe_load_all((DEPLOY / "secrets.example.yaml").read_text(encoding="utf-8")):
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("spoilt", [{"spec": {"replica": 2}}, {"spec": {"replicas": "two"}}], ids=["unknown", "type"])
def test_the_schemas_find_a_mistake(spoilt: Manifest) -> None:
    deployment = of_kind(built("minimal"), "Deployment")[0]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            {**deployment, "spec": {**deployment["spec"], **spoilt["spec"]}}, KUBERNETES[0], strict=True
        )


def test_every_object_lies_in_a_namespace_that_is_made_or_belongs_to_the_cluster(
    objects: tuple[Manifest, ...],
) -> None:
    assert names(objects, "Namespace") == {NAMESPACE, MLFLOW_NAMESPACE}
    of_the_cluster = {"Namespace", "ClusterRole", "ClusterRoleBinding"}
    for one in objects:
        expected = {None} if one["kind"] in of_the_cluster else {NAMESPACE, MLFLOW_NAMESPACE}
        assert one["metadata"].get("namespace") in expected, one["metadata"]["name"]


def test_no_object_is_there_twice(objects: tuple[Manifest, ...]) -> None:
    identities = [
        (one["apiVersion"], one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in objects
    ]
    assert len(identities) == len(set(identities))


def test_every_container_is_confined(objects: tuple[Manifest, ...]) -> None:
    for name, pod in pods(objects).items():
        context = pod["spec"]["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert context["runAsUser"] > 0, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not any(pod["spec"].get(shared) for shared in ("hostNetwork", "hostPID", "hostIPC")), name
        assert not any("hostPath" in volume for volume in pod["spec"].get("volumes", [])), name
        for container in containers(pod):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, name
            assert own["readOnlyRootFilesystem"] is True, name
            assert own["capabilities"] == {"drop": ["ALL"]}, name
            assert not {"privileged", "runAsUser", "runAsNonRoot"} & set(own), name


def test_every_container_states_what_it_needs_and_where_it_ends(objects: tuple[Manifest, ...]) -> None:
    for name, pod in pods(objects).items():
        for container in containers(pod):
            for kind in ("requests", "limits"):
                assert set(container["resources"][kind]) == {"cpu", "memory"}, f"{name}/{container['name']}"


def test_every_server_is_probed(objects: tuple[Manifest, ...]) -> None:
    servers = [container for one in workloads(objects) for container in containers(one["spec"]["template"])]
    servers = [container for container in servers if "ports" in container]
    assert servers
    for container in servers:
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container), container["name"]


def test_a_new_digest_can_be_applied_over_what_is_there(objects: tuple[Manifest, ...]) -> None:
    """Kubernetes takes a new image for what lives on, and refuses one for a job that is there."""
    assert {one["kind"] for one in workloads(objects)} <= {"Deployment", "StatefulSet"}


def test_the_volume_is_handed_over_before_a_pod_holds_it_open() -> None:
    (volume,) = [one for one in workloads(built("minimal")) if one["metadata"]["name"] == "volume"]
    pod = volume["spec"]["template"]["spec"]
    (first,) = pod["initContainers"]
    assert pod["securityContext"]["fsGroup"] == ClusterParams.model_fields["user"].default
    assert {mount["mountPath"] for mount in first["volumeMounts"]} == {"/cache"}
    assert volume["spec"]["progressDeadlineSeconds"], "or waiting for it would not end"


def test_no_image_can_change_under_its_name(objects: tuple[Manifest, ...]) -> None:
    for name, pod in pods(objects).items():
        for container in containers(pod):
            image = container["image"]
            by_digest = re.fullmatch(r"[a-z0-9.-]+(/[a-z0-9._-]+)+@sha256:[0-9a-f]{64}", image)
            by_version = re.fullmatch(r"docker\.io/library/postgres:\d+\.\d+-[a-z]+", image)
            assert by_digest or by_version, f"{name}: {image}"


def test_our_own_image_must_be_named_before_anything_starts(objects: tuple[Manifest, ...]) -> None:
    """The digest in the repository is no image's: who forgets to give theirs is told by the registry, at once."""
    images = {container["image"] for pod in pods(objects).values() for container in containers(pod)}
    assert f"registry.example.com/team/kineflow-python@sha256:{'0' * 64}" in images


def test_everything_referred_to_is_there_or_said_to_be_needed(objects: tuple[Manifest, ...]) -> None:
    """There means in the namespace of what refers to it: Kubernetes looks nowhere else."""
    there = {_place(one) for one in (*objects, *secrets())} | MADE_ELSEWHERE
    for workload in workloads(objects):
        namespace, _, name = _place(workload)
        for reference in references(workload["spec"]["template"]):
            assert (namespace, *reference) in there, f"{name} refers to {reference}"
    for ingress in of_kind(objects, "Ingress"):
        for certificate in ingress["spec"]["tls"]:
            assert (ingress["metadata"]["namespace"], "Secret", certificate["secretName"]) in there
    for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding"):
        role = binding["roleRef"]
        of_role = binding["metadata"]["namespace"] if role["kind"] == "Role" else None
        assert (of_role, role["kind"], role["name"]) in there
        for subject in binding["subjects"]:
            assert (subject["namespace"], subject["kind"], subject["name"]) in there


def test_no_secret_is_applied_and_no_value_stands_in_the_example(objects: tuple[Manifest, ...]) -> None:
    assert not of_kind(objects, "Secret")
    wanted = re.compile(r"PASSWORD|SECRET|ACCESS_KEY")
    values = {value for keys in secret_keys().values() for name, value in keys.items() if wanted.search(name)}
    assert values == {"replace-me"}


def test_secrets_of_the_steps_have_the_keys_that_a_compiled_package_asks_for() -> None:
    assert set(secret_keys()["kineflow-s3"]) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert set(secret_keys()["kineflow-mlflow"]) == {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}


def test_no_right_is_given_by_a_wildcard_and_none_lets_run_or_change_other_pods(objects: tuple[Manifest, ...]) -> None:
    for role in of_kind(objects, "Role", "ClusterRole"):
        for rule in role["rules"]:
            assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"], role["metadata"]["name"]
            assert not {"pods/exec", "pods/attach", "pods/portforward", "serviceaccounts/token"} & set(
                rule["resources"]
            )
            if {"secrets", "configmaps"} & set(rule["resources"]):
                assert rule["verbs"] == ["get"]
                assert rule["resourceNames"], "a rule without names would open every secret of the namespace"
            if "pods" in rule["resources"]:
                assert set(rule["verbs"]) == {"get", "list", "watch"}


def test_the_runner_may_do_what_steps_do(objects: tuple[Manifest, ...]) -> None:
    granted = {
        (group, resource, verb)
        for role in of_kind(objects, "Role", "ClusterRole")
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    trainer = "trainer.kubeflow.org"
    needed = {
        ("argoproj.io", "workflowtaskresults", "create"),
        ("argoproj.io", "workflowtaskresults", "patch"),
        ("", "configmaps", "get"),
        ("", "pods", "list"),
        ("", "pods/log", "get"),
        *((trainer, "trainjobs", verb) for verb in ("create", "get", "list", "watch", "delete")),
        (trainer, "trainingruntimes", "get"),
        (trainer, "clustertrainingruntimes", "get"),
    }
    assert needed <= granted


def test_servers_hold_no_token_for_the_kubernetes_api(objects: tuple[Manifest, ...]) -> None:
    for name, pod in pods(objects).items():
        assert pod["spec"]["automountServiceAccountToken"] is False, name


def test_every_service_leads_to_a_pod_and_to_a_port_of_it(objects: tuple[Manifest, ...]) -> None:
    for service in of_kind(objects, "Service"):
        selector = {"matchLabels": service["spec"]["selector"]}
        beside = [one for one in workloads(objects) if one["metadata"]["namespace"] == service["metadata"]["namespace"]]
        templates = [one["spec"]["template"] for one in beside]
        chosen = [pod for pod in templates if selects(selector, pod["metadata"]["labels"])]
        assert len(chosen) == 1, service["metadata"]["name"]
        ports = {port["name"]: port["containerPort"] for c in chosen[0]["spec"]["containers"] for port in c["ports"]}
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in ports
            assert port["port"] == ports[port["targetPort"]]


def test_probes_and_the_ingress_use_ports_that_there_are(objects: tuple[Manifest, ...]) -> None:
    for pod in pods(objects).values():
        for container in pod["spec"]["containers"]:
            named = {port["name"] for port in container.get("ports", [])}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                request = container.get(probe, {}).get("httpGet")
                assert request is None or request["port"] in named
    services = {(one["metadata"]["namespace"], one["metadata"]["name"]): one for one in of_kind(objects, "Service")}
    for ingress in of_kind(objects, "Ingress"):
        namespace = ingress["metadata"]["namespace"]
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                service = services[namespace, backend["name"]]
                assert backend["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}


def test_mlflow_listens_on_the_port_that_is_published_and_answers_to_all_names_of_its_service(
    objects: tuple[Manifest, ...],
) -> None:
    server = pods(objects)["mlflow"]["spec"]["containers"][0]
    words = command_line(server, environment(server, objects, secret_keys(MLFLOW_NAMESPACE)))
    assert not [word for word in words if "$(" in word], "a variable that nothing sets"
    options = dict(word[2:].split("=", 1) for word in words if word.startswith("--"))
    assert int(options["port"]) == server["ports"][0]["containerPort"]
    allowed = options["allowed-hosts"].split(",")
    service = f"mlflow.{MLFLOW_NAMESPACE}"
    for name in ("mlflow", service, f"{service}.svc", f"{service}.svc.cluster.local"):
        assert {name, f"{name}:5000"} <= set(allowed)
    assert {"localhost:5000", "127.0.0.1:5000"} <= set(allowed)
    assert not [name for name in allowed if "*" in name]
    for ingress in of_kind(objects, "Ingress"):
        assert {rule["host"] for rule in ingress["spec"]["rules"]} <= set(allowed)


def test_the_name_of_the_service_does_not_set_the_port_of_mlflow(objects: tuple[Manifest, ...]) -> None:
    """Kubernetes sets ``MLFLOW_PORT=tcp://…`` in pods of a namespace with a service ``mlflow``."""
    assert pods(objects)["mlflow"]["spec"]["enableServiceLinks"] is False


@pytest.mark.parametrize("namespace", [NAMESPACE, MLFLOW_NAMESPACE])
def test_both_ways_are_closed_for_every_pod_unless_a_policy_opens_them(
    objects: tuple[Manifest, ...], namespace: str
) -> None:
    policies = [one for one in of_kind(objects, "NetworkPolicy") if one["metadata"]["namespace"] == namespace]
    everything_closed = [
        one["spec"]
        for one in policies
        if one["spec"]["podSelector"] == {} and not one["spec"].get("ingress") and not one["spec"].get("egress")
    ]
    assert [set(spec["policyTypes"]) for spec in everything_closed] == [{"Ingress", "Egress"}]


@pytest.mark.parametrize(
    ("client", "server", "port", "reached"),
    [
        pytest.param(PIPELINE_POD, "mlflow", 5000, True, id="pipeline-mlflow"),
        pytest.param(TRAINING_POD, "mlflow", 5000, True, id="training-mlflow"),
        pytest.param(PIPELINE_POD, "mlflow", 22, False, id="pipeline-mlflow-other-port"),
        pytest.param(STRANGER, "mlflow", 5000, False, id="stranger-mlflow"),
        pytest.param(KUBEFLOW_POD, "mlflow", 5000, False, id="kubeflow-mlflow"),
        pytest.param(PIPELINE_POD._replace(namespace="other"), "mlflow", 5000, False, id="other-namespace-mlflow"),
        pytest.param(PIPELINE_POD, KUBEFLOW_POD, 8887, True, id="pipeline-kubeflow"),
        pytest.param(TRAINING_POD, TRAINING_POD, 29500, True, id="training-training"),
        pytest.param(TRAINING_POD, PIPELINE_POD, 80, False, id="training-pipeline"),
        pytest.param(PIPELINE_POD, TRAINING_POD, 29500, False, id="pipeline-training"),
        pytest.param(STRANGER, KUBEFLOW_POD, 8888, False, id="stranger-kubeflow"),
        pytest.param("mlflow", PIPELINE_POD, 80, False, id="mlflow-pipeline"),
        pytest.param("mlflow", KUBEFLOW_POD, 8888, False, id="mlflow-kubeflow"),
        pytest.param("mlflow", DNS, 53, True, id="mlflow-dns"),
        pytest.param(PIPELINE_POD, DNS, 53, True, id="pipeline-dns"),
    ],
)
def test_pods_reach_whom_they_need_and_nobody_else(
    objects: tuple[Manifest, ...], client: str | Pod, server: str | Pod, port: int, reached: bool
) -> None:
    calling = _pod(objects, client) if isinstance(client, str) else client
    serving = _pod(objects, server) if isinstance(server, str) else server
    assert reaches(objects, calling, serving, port) is reached


def test_only_mlflow_reaches_the_database_beside_it() -> None:
    objects = built("minimal")
    mlflow, postgres = _pod(objects, "mlflow"), _pod(objects, "postgres")
    assert reaches(objects, mlflow, postgres, 5432)
    # A pod that the runner makes has the labels that the runner likes.
    disguised = [Pod(NAMESPACE, labels) for labels in (mlflow.labels, PIPELINE_POD.labels | mlflow.labels)]
    for client in (PIPELINE_POD, TRAINING_POD, STRANGER, KUBEFLOW_POD, *disguised, Pod(mlflow.namespace, {})):
        assert not reaches(objects, client, postgres, 5432)


def test_an_s3_in_the_cluster_is_reached_from_both_namespaces_and_not_by_the_database() -> None:
    objects, s3 = built("minimal"), Pod("storage", {"app": "s3"})
    for client in (PIPELINE_POD, TRAINING_POD, _pod(objects, "mlflow")):
        assert reaches(objects, client, s3, 9000)
    for client in (_pod(objects, "postgres"), _pod(objects, "volume")):
        assert not reaches(objects, client, s3, 9000)


@pytest.mark.parametrize(("name", "reached"), [("minimal", False), ("production", True)])
def test_the_ingress_reaches_mlflow_where_there_is_one(name: str, reached: bool) -> None:
    objects = built(name)
    assert reaches(objects, Pod("ingress-nginx", {}), _pod(objects, "mlflow"), 5000) is reached


def test_the_machines_own_credentials_are_out_of_reach(objects: tuple[Manifest, ...]) -> None:
    """The clouds' metadata service at 169.254.169.254 hands out the node's role to whoever asks."""
    for policy in of_kind(objects, "NetworkPolicy"):
        if policy["metadata"]["name"] == "kubeflow-pipelines":
            continue
        for rule in policy["spec"].get("egress", []):
            assert rule.get("to"), f"{policy['metadata']['name']} opens the way to anywhere"
            for peer in rule["to"]:
                block = peer.get("ipBlock")
                if block and block["cidr"] == "0.0.0.0/0":
                    assert "169.254.0.0/16" in block["except"]


def test_the_data_volume_can_be_shared_and_has_a_storage_class(objects: tuple[Manifest, ...]) -> None:
    (claim,) = of_kind(objects, "PersistentVolumeClaim")
    assert claim["metadata"]["name"] == "kineflow-data"
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert claim["spec"]["storageClassName"]


def test_a_drained_node_leaves_a_server_where_there_are_two() -> None:
    objects = built("production")
    (budget,) = of_kind(objects, "PodDisruptionBudget")
    (deployment,) = [one for one in of_kind(objects, "Deployment") if one["metadata"]["name"] == "mlflow"]
    assert selects(budget["spec"]["selector"], deployment["spec"]["template"]["metadata"]["labels"])
    assert 0 < budget["spec"]["minAvailable"] < deployment["spec"]["replicas"]


def test_production_asks_for_a_password_and_has_no_database_of_its_own() -> None:
    objects = built("production")
    words = pods(objects)["mlflow"]["spec"]["containers"][0]["args"]
    assert "--app-name=basic-auth" in words
    assert "postgres" not in names(objects, "StatefulSet")


def _place(one: Manifest) -> tuple[str | None, str, str]:
    """Namespace, kind and name of an object; no namespace for what belongs to the cluster."""
    return one["metadata"].get("namespace"), one["kind"], one["metadata"]["name"]


def _pod(objects: tuple[Manifest, ...], name: str) -> Pod:
    """The pod of a workload of ours."""
    (found,) = [one for one in workloads(objects) if one["metadata"]["name"] == name]
    return Pod(found["metadata"]["namespace"], found["spec"]["template"]["metadata"]["labels"])
