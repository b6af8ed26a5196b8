"""What deploy/ sends to a cluster is valid for Kubernetes, safe by our own rules, and refers to what is there."""

from __future__ import annotations

import re

import kubernetes_validate
import pytest
import yaml

from tests.deploy.manifests import (
    DEPLOY,
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
    selects,
)

pytestmark = pytest.mark.slow

# The oldest that Kubeflow Trainer 2 runs on, and the newest that the schemas are there for.
KUBERNETES = ("1.31", "1.37")

# Labels of the pods that others start in the namespace.
PIPELINE_POD = {"pipelines.kubeflow.org/v2_component": "true", "workflows.argoproj.io/workflow": "d3d-x"}
TRAINING_POD = {"jobset.sigs.k8s.io/jobset-name": "teacher"}
KUBEFLOW_POD = {"application-crd-id": "kubeflow-pipelines", "app": "ml-pipeline"}
STRANGER = {"app": "somebody-else"}

# Not made by an overlay, and said to be needed in docs/cluster.md.
MADE_ELSEWHERE = {("Secret", "mlflow-tls")}


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


def test_every_object_lies_in_the_namespace_or_belongs_to_the_cluster(objects: tuple[Manifest, ...]) -> None:
    of_the_cluster = {"Namespace", "ClusterRole", "ClusterRoleBinding"}
    for one in objects:
        expected = None if one["kind"] in of_the_cluster else NAMESPACE
        assert one["metadata"].get("namespace") == expected, one["metadata"]["name"]


def test_no_object_is_there_twice(objects: tuple[Manifest, ...]) -> None:
    identities = [(one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in objects]
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


def test_every_server_is_probed_and_every_job_ends(objects: tuple[Manifest, ...]) -> None:
    for one in of_kind(objects, "Deployment", "StatefulSet"):
        for container in one["spec"]["template"]["spec"]["containers"]:
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container), container["name"]
    for job in of_kind(objects, "Job"):
        assert {"backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"} <= set(job["spec"])


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
    there = {(one["kind"], one["metadata"]["name"]) for one in objects}
    there |= {("Secret", name) for name in secret_keys()} | MADE_ELSEWHERE
    for name, pod in pods(objects).items():
        for reference in references(pod):
            assert reference in there, f"{name} refers to {reference}"
    for ingress in of_kind(objects, "Ingress"):
        for certificate in ingress["spec"]["tls"]:
            assert ("Secret", certificate["secretName"]) in there
    for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding"):
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) in there
        for subject in binding["subjects"]:
            assert (subject["kind"], subject["name"]) in there
            assert subject["namespace"] == NAMESPACE


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
    templates = pods(objects).values()
    for service in of_kind(objects, "Service"):
        chosen = [
            pod for pod in templates if selects({"matchLabels": service["spec"]["selector"]}, pod["metadata"]["labels"])
        ]
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
    services = {one["metadata"]["name"]: one for one in of_kind(objects, "Service")}
    for ingress in of_kind(objects, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                assert backend["port"]["name"] in {port["name"] for port in services[backend["name"]]["spec"]["ports"]}


def test_mlflow_listens_on_the_port_that_is_published_and_answers_to_all_names_of_its_service(
    objects: tuple[Manifest, ...],
) -> None:
    server = pods(objects)["mlflow"]["spec"]["containers"][0]
    words = command_line(server, environment(server, objects, secret_keys()))
    assert not [word for word in words if "$(" in word], "a variable that nothing sets"
    options = dict(word[2:].split("=", 1) for word in words if word.startswith("--"))
    assert int(options["port"]) == server["ports"][0]["containerPort"]
    allowed = options["allowed-hosts"].split(",")
    for name in ("mlflow", "mlflow.kineflow", "mlflow.kineflow.svc", "mlflow.kineflow.svc.cluster.local"):
        assert {name, f"{name}:5000"} <= set(allowed)
    assert {"localhost:5000", "127.0.0.1:5000"} <= set(allowed)
    assert not [name for name in allowed if "*" in name]
    for ingress in of_kind(objects, "Ingress"):
        assert {rule["host"] for rule in ingress["spec"]["rules"]} <= set(allowed)


def test_the_name_of_the_service_does_not_set_the_port_of_mlflow(objects: tuple[Manifest, ...]) -> None:
    """Kubernetes sets ``MLFLOW_PORT=tcp://…`` in pods of a namespace with a service ``mlflow``."""
    assert pods(objects)["mlflow"]["spec"]["enableServiceLinks"] is False


def test_both_ways_are_closed_for_every_pod_unless_a_policy_opens_them(objects: tuple[Manifest, ...]) -> None:
    policies = of_kind(objects, "NetworkPolicy")
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
        pytest.param(STRANGER, "mlflow", 5000, False, id="stranger-mlflow"),
        pytest.param(PIPELINE_POD, KUBEFLOW_POD, 8887, True, id="pipeline-kubeflow"),
        pytest.param(TRAINING_POD, TRAINING_POD, 29500, True, id="training-training"),
        pytest.param(TRAINING_POD, PIPELINE_POD, 80, False, id="training-pipeline"),
        pytest.param(PIPELINE_POD, TRAINING_POD, 29500, False, id="pipeline-training"),
        pytest.param(STRANGER, KUBEFLOW_POD, 8888, False, id="stranger-kubeflow"),
    ],
)
def test_pods_reach_whom_they_need_and_nobody_else(
    objects: tuple[Manifest, ...], client: dict[str, str], server: str | dict[str, str], port: int, reached: bool
) -> None:
    serving = pods(objects)[server]["metadata"]["labels"] if isinstance(server, str) else server
    assert _reaches(objects, client, serving, port) is reached


def test_only_mlflow_reaches_the_database_beside_it() -> None:
    objects = built("minimal")
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(objects).items()}
    assert _reaches(objects, labels["mlflow"], labels["postgres"], 5432)
    for client in (PIPELINE_POD, TRAINING_POD, STRANGER, KUBEFLOW_POD):
        assert not _reaches(objects, client, labels["postgres"], 5432)


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
    (deployment,) = of_kind(objects, "Deployment")
    assert selects(budget["spec"]["selector"], deployment["spec"]["template"]["metadata"]["labels"])
    assert 0 < budget["spec"]["minAvailable"] < deployment["spec"]["replicas"]


def test_production_asks_for_a_password_and_has_no_database_of_its_own() -> None:
    objects = built("production")
    words = pods(objects)["mlflow"]["spec"]["containers"][0]["args"]
    assert "--app-name=basic-auth" in words
    assert "postgres" not in names(objects, "StatefulSet")


def _reaches(objects: tuple[Manifest, ...], client: dict[str, str], server: dict[str, str], port: int) -> bool:
    """Whether the network policies let a pod of the namespace call another: out of the one and into the other."""
    return _open(objects, "egress", "to", client, server, port) and _open(
        objects, "ingress", "from", server, client, port
    )


def _open(
    objects: tuple[Manifest, ...], way: str, peers: str, own: dict[str, str], other: dict[str, str], port: int
) -> bool:
    policies = [one["spec"] for one in of_kind(objects, "NetworkPolicy") if selects(one["spec"]["podSelector"], own)]
    if not any(way.capitalize() in spec["policyTypes"] for spec in policies):
        return True
    for spec in policies:
        for rule in spec.get(way, []):
            ports = [one["port"] for one in rule.get("ports", [])]
            named = [peer["podSelector"] for peer in rule.get(peers, []) if set(peer) == {"podSelector"}]
            everybody = peers not in rule
            if (not ports or port in ports) and (everybody or any(selects(one, other) for one in named)):
                return True
    return False
