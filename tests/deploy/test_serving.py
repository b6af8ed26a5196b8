"""A model behind KServe: valid by KServe's own definition, confined as everything else, and reaching MLflow alone."""

from __future__ import annotations

import copy
import json
import re

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.deploy.manifests import DEPLOY, MLFLOW_NAMESPACE, NAMESPACE, ROOT, Manifest, built, of_kind, secret_keys
from tests.deploy.network import Pod, reaches
from tests.deploy.test_walkthrough import _parse

pytestmark = pytest.mark.slow

# github.com/kserve/kserve at aaac4e294, config/crd/full, Apache-2.0: what is used of it, and unknown keys refused.
SCHEMA = json.loads((ROOT / "tests" / "deploy" / "kserve-inference-service.json").read_text(encoding="utf-8"))
MODEL = Pod(NAMESPACE, {"serving.kserve.io/inferenceservice": "kineflow", "app": "isvc.kineflow-predictor"})
MLFLOW = Pod(MLFLOW_NAMESPACE, {"app.kubernetes.io/name": "mlflow"})


@pytest.fixture
def objects() -> tuple[Manifest, ...]:
    return built("../serving")


@pytest.fixture
def service(objects: tuple[Manifest, ...]) -> Manifest:
    [service] = of_kind(objects, "InferenceService")
    return service


def test_both_ways_are_valid_by_kserves_schema(service: Manifest) -> None:
    by_mlflow = yaml.safe_load((DEPLOY / "serving" / "mlflow_runtime.yaml").read_text(encoding="utf-8"))
    for one in (service, by_mlflow):
        jsonschema.validate(one, SCHEMA)
        wrong = copy.deepcopy(one)
        wrong["spec"]["predictor"]["minReplica"] = 1
        with pytest.raises(jsonschema.ValidationError, match="minReplica"):
            jsonschema.validate(wrong, SCHEMA)
    assert by_mlflow["spec"]["predictor"]["model"]["modelFormat"] == {"name": "mlflow"}


def test_a_candidate_gets_a_share_of_what_the_champion_got(service: Manifest) -> None:
    beside = built("../serving-canary")
    assert sorted(one["kind"] for one in beside) == ["HTTPRoute", "InferenceService"], "policies are the champion's"
    [candidate], [route] = of_kind(beside, "InferenceService"), of_kind(beside, "HTTPRoute")
    jsonschema.validate(candidate, SCHEMA)
    [ours], [theirs] = (one["spec"]["predictor"]["containers"] for one in (candidate, service))
    assert (theirs["args"][0], ours["args"][0]) == ("models:/d3d-ucf101@champion", "models:/d3d-ucf101@candidate")
    assert (ours["image"], ours["args"][1:]) == (theirs["image"], theirs["args"][1:])
    [rule] = route["spec"]["rules"]
    shares = {each["name"]: each["weight"] for each in rule["backendRefs"]}
    named = [f"{one['metadata']['name']}-predictor" for one in (service, candidate)]
    assert list(shares) == named, "as KServe calls the service of a predictor"
    assert sum(shares.values()) == 100


def test_its_pod_is_one_and_is_confined(objects: tuple[Manifest, ...], service: Manifest) -> None:
    kserves = ("minReplicas", "maxReplicas", "timeout", "deploymentStrategy")
    spec = {key: value for key, value in service["spec"]["predictor"].items() if key not in kserves}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": service["metadata"], "spec": spec}
    for one in (pod, *of_kind(objects, "NetworkPolicy")):
        kubernetes_validate.validate(one, "1.31", strict=True)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    [container] = spec["containers"]
    own = container["securityContext"]
    assert (own["allowPrivilegeEscalation"], own["readOnlyRootFilesystem"]) == (False, True)
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert re.fullmatch(r"registry\.example\.com/team/kineflow-python@sha256:0{64}", container["image"])
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
    [secret] = [source["secretRef"]["name"] for source in container["envFrom"]]
    assert set(secret_keys(NAMESPACE)[secret]) == {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}


def test_what_it_starts_is_a_command_of_ours_at_the_port_that_is_asked(service: Manifest) -> None:
    [container] = service["spec"]["predictor"]["containers"]
    command = [*container["command"], *container["args"]]
    _parse(" ".join(command))
    port = container["ports"][0]["containerPort"]
    assert f"--port={port}" in command
    assert {container[kind]["httpGet"]["port"] for kind in container if kind.endswith("Probe")} == {port}
    assert f"--timeout={service['spec']['predictor']['timeout']}" in command


@pytest.mark.parametrize("overlay", ["minimal", "production"])
def test_it_reaches_mlflow_alone_and_is_reached_through_the_gateway(
    overlay: str, objects: tuple[Manifest, ...]
) -> None:
    every = (*built(overlay), *objects)
    assert reaches(every, MODEL, MLFLOW, 5000)
    assert not reaches(built(overlay), MODEL, MLFLOW, 5000), "the overlay alone lets nobody in who is no step"
    assert reaches(every, Pod("ingress-nginx", {"app": "x"}), MODEL, 8080)
    assert not reaches(every, Pod(NAMESPACE, {"app": "somebody-else"}), MODEL, 8080)
    database = Pod(MLFLOW_NAMESPACE, {"app.kubernetes.io/name": "postgres"})
    assert not reaches(every, MODEL, database, 5432)
