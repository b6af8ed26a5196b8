"""What the tests on a cluster install and submit, made of `deploy/` and the demo's parameters."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE, MLFLOW_NAMESPACE = "kineflow", "kineflow-mlflow"
DATA = "/cache/kineflow-test/data"
MODEL = "d3d-demo"
_GIB = 20


@dataclass(frozen=True)
class Site:
    """A cluster's own.

    Attributes:
        image: By digest.
        storage_class: Of the shared volume; empty for the cluster's default.
        access_mode: Likewise.
        keep: Whether all is left in place.
    """

    image: str
    storage_class: str = ""
    access_mode: str = "ReadWriteMany"
    keep: bool = False

    @classmethod
    def from_environment(cls) -> Site:
        """As tests/kubernetes/README.md says."""
        read = os.environ.get
        return cls(
            read("KINEFLOW_TEST_IMAGE", ""),
            read("KINEFLOW_TEST_STORAGE_CLASS", ""),
            read("KINEFLOW_TEST_ACCESS_MODE", "ReadWriteMany"),
            bool(read("KINEFLOW_TEST_KEEP")),
        )

    def write_overlay(self, folder: Path) -> Path:
        """The overlay `minimal` for this cluster: models on MLflow's own disk, so that no S3 is wanted."""
        name, _, digest = self.image.partition("@")
        volume: list[dict[str, Any]] = [
            {"op": "replace", "path": "/spec/accessModes", "value": [self.access_mode]},
            {"op": "replace", "path": "/spec/resources/requests/storage", "value": f"{_GIB}Gi"},
            {"op": "replace", "path": "/spec/storageClassName", "value": self.storage_class}
            if self.storage_class
            else {"op": "remove", "path": "/spec/storageClassName"},
        ]
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [os.path.relpath(ROOT / "deploy" / "overlays" / "minimal", folder.resolve())],
            "configMapGenerator": [{
                "name": "mlflow", "namespace": MLFLOW_NAMESPACE, "behavior": "merge",
                "literals": ["ARTIFACTS_DESTINATION=/tmp/artifacts"],
            }],
            "patches": [{
                "target": {"kind": "PersistentVolumeClaim", "name": "kineflow-data"}, "patch": yaml.safe_dump(volume),
            }],
            "images": [
                {"name": "registry.example.com/team/kineflow-python", "newName": name, "digest": digest},
            ],
        }  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
        return folder

    def data_pod(self) -> dict[str, Any]:
        """A pod that puts the demo's videos onto the shared volume."""
        confined = {
            "runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        }  # fmt: skip
        container = {
            "name": "synth",
            "image": self.image,
            "command": ["kineflow", "synth", DATA, "--seed", "1"],
            "env": [{"name": "HOME", "value": "/tmp"}],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [{"name": "data", "mountPath": "/cache"}],
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "kineflow-test-data", "namespace": NAMESPACE},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "securityContext": confined,
                "containers": [container],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "kineflow-data"}}],
            },
        }


def small_params(image: str, *, steps: Mapping[str, Any] | None = None, **sections: Any) -> dict[str, Any]:
    """The demo's parameters, made small, for a cluster.

    Args:
        image: By digest.
        steps: Of the section ``cluster``, beside the default's.
        **sections: Keys to change, by section.
    """
    params: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    short = {"steps": 20, "validate_every_steps": 10, "batch_size": 8}
    changes: dict[str, Any] = {"ingestion": {"source": DATA}, "teacher": short, "student": short}
    for key, values in [*changes.items(), *sections.items()]:
        params[key] |= values
    params["distillation"]["unlabelled_batch_size"] = 8
    params["cluster"] |= {"image": image, "secrets": {}}
    few = {"cpu": "1", "memory": "3Gi", "timeout_sec": 3600, "retries": 1, "retry_after_sec": 5}
    params["cluster"]["steps"] = {"default": few, **(steps or {})}
    return params


def out_of_memory(image: str) -> dict[str, Any]:
    """Parameters of a run whose step `validate` is killed for want of memory, and tried again once."""
    return small_params(image, steps={"validate": {"memory": "200Mi"}})


def long_on_two_nodes(image: str) -> dict[str, Any]:
    """Parameters of a run that trains on two nodes for as long as it is let."""
    return small_params(image, teacher={"nodes": 2, "steps": 1_000_000, "validate_every_steps": 10})
