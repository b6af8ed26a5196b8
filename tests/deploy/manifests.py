"""What `kubectl apply -k` would send to a cluster, as objects, and ways to look at it."""

from __future__ import annotations

import re
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
OVERLAYS = ("minimal", "production")  # a team's own, beside them, name an image that there is
NAMESPACE = "kineflow"  # of pipelines
MLFLOW_NAMESPACE = "kineflow-mlflow"

Manifest = dict[str, Any]

_OLDEST = (4, 1)  # components and replacements as the overlays use them; Debian 12's kubectl has 2.0
_NOT_HERE = (
    "no kubectl with Kustomize 4.1 or newer, and no kustomize, is on the path: the manifests of deploy/ are NOT "
    "checked (Debian 13: apt-get install kubernetes-client)"
)


@cache
def built(overlay: str) -> tuple[Manifest, ...]:
    """Objects of an overlay of ours, as :func:`kustomized` gives them."""
    return kustomized(DEPLOY / "overlays" / overlay)


def kustomized(folder: Path) -> tuple[Manifest, ...]:
    """Objects of a folder as kustomize builds them; skips the test, aloud, where there is no kustomize."""
    command = _kustomize()
    if command is None:
        warnings.warn(_NOT_HERE, stacklevel=1)
        pytest.skip(_NOT_HERE)
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, f"kustomize warns: {done.stderr}"
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(objects: tuple[Manifest, ...], *kinds: str) -> list[Manifest]:
    """Those of some kinds, in the order in which they are applied."""
    return [one for one in objects if one["kind"] in kinds]


def names(objects: tuple[Manifest, ...], kind: str) -> set[str]:
    """Names of the objects of a kind."""
    return {one["metadata"]["name"] for one in of_kind(objects, kind)}


def pods(objects: tuple[Manifest, ...]) -> dict[str, Manifest]:
    """Pod templates (``metadata`` and ``spec``) by the name of what starts them."""
    return {one["metadata"]["name"]: one["spec"]["template"] for one in workloads(objects)}


def workloads(objects: tuple[Manifest, ...]) -> list[Manifest]:
    """The objects that start pods."""
    return of_kind(objects, "Deployment", "StatefulSet", "Job")


def containers(pod: Manifest) -> list[Manifest]:
    """Containers of a pod template, those that run first included."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def environment(
    container: Manifest, objects: tuple[Manifest, ...], secrets: dict[str, dict[str, str]]
) -> dict[str, str]:
    """Variables of a container, with what its config maps and ``secrets`` hold."""
    maps = {one["metadata"]["name"]: one["data"] for one in of_kind(objects, "ConfigMap")}
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= (
            maps[source["configMapRef"]["name"]] if "configMapRef" in source else secrets[source["secretRef"]["name"]]
        )
    for variable in container.get("env", []):
        if "value" in variable:
            found[variable["name"]] = variable["value"]
        else:
            key = variable["valueFrom"]["secretKeyRef"]
            found[variable["name"]] = secrets[key["name"]][key["key"]]
    return found


def command_line(container: Manifest, variables: dict[str, str]) -> list[str]:
    """The words that a container starts, ``$(NAME)`` replaced as Kubernetes does: unknown names are left."""
    return [
        re.sub(r"\$\((\w+)\)", lambda found: variables.get(found[1], found[0]), word)
        for word in [*container.get("command", []), *container.get("args", [])]
    ]


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    """Whether a label selector selects a pod with these labels."""
    wanted = [
        {"key": key, "operator": "In", "values": [value]} for key, value in selector.get("matchLabels", {}).items()
    ]
    return all(_holds(one, labels) for one in [*wanted, *selector.get("matchExpressions", [])])


def _holds(expression: Manifest, labels: dict[str, str]) -> bool:
    key, values = expression["key"], expression.get("values", ())
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case other:
            raise ValueError(other)


def references(pod: Manifest) -> Iterator[tuple[str, str]]:
    """Kind and name of every object that a pod template refers to."""
    spec = pod["spec"]
    if "serviceAccountName" in spec:
        yield "ServiceAccount", spec["serviceAccountName"]
    for container in containers(pod):
        for source in container.get("envFrom", []):
            for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if field in source:
                    yield kind, source[field]["name"]
        for variable in container.get("env", []):
            if "secretKeyRef" in variable.get("valueFrom", {}):
                yield "Secret", variable["valueFrom"]["secretKeyRef"]["name"]
    for volume in spec.get("volumes", []):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]


def secret_keys(namespace: str | None = None) -> dict[str, dict[str, str]]:
    """What ``deploy/secrets.example.yaml`` says secrets hold, by their names; of one namespace, or of all."""
    return {
        one["metadata"]["name"]: one["stringData"]
        for one in secrets()
        if namespace in (None, one["metadata"]["namespace"])
    }


def secrets() -> tuple[Manifest, ...]:
    """The secrets of ``deploy/secrets.example.yaml``: no two have one name, whatever their namespace."""
    objects = tuple(yaml.safe_load_all((DEPLOY / "secrets.example.yaml").read_text(encoding="utf-8")))
    assert len(names(objects, "Secret")) == len(objects)
    return objects


def _kustomize() -> list[str] | None:
    """A command that builds a folder; None where there is none, or too old a one."""
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    if not shutil.which("kubectl"):
        return None
    said = subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True, timeout=60).stdout
    version = re.search(r"Kustomize Version: v(\d+)\.(\d+)", said)
    return ["kubectl", "kustomize"] if version and (int(version[1]), int(version[2])) >= _OLDEST else None
