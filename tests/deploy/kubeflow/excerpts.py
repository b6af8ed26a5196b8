"""What Kubeflow Pipelines and Argo say of what our deployment and packages lean on, cut out of their sources.

Both are under the Apache License 2.0; every file in ``theirs/`` names where it is from. After an upgrade, with clones
of both at the new versions, write them anew and read the difference::

    python -m tests.deploy.kubeflow.excerpts ../pipelines ../argo-workflows
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml

KFP, ARGO = "2.17.0", "v4.0.5"
THEIRS = Path(__file__).parent / "theirs"
BASES = ("cluster-scoped-resources", "env/platform-agnostic")
"""The folders below ``manifests/kustomize`` that ``deploy/kubeflow`` builds on."""

_NAMESPACE = re.compile(r"(?<![\w/-])kubeflow(?![\w/-]|\.org)")
_POD = ("serviceAccountName", "volumes", "containers")
_CONTAINER = ("name", "image", "args", "env")


class Excerpt(NamedTuple):
    """Lines of a source file, from one that begins so to the next that begins so, both included; or that one alone."""

    repository: str
    path: str
    first: str
    last: str | None = "}"


EXCERPTS = {
    "default_endpoint": Excerpt("kfp", "backend/src/v2/objectstore/config.go", "const DefaultEndpoint", None),
    "default_session": Excerpt("kfp", "backend/src/v2/config/env.go", "func getDefaultMinioSessionInfo"),
    "default_root": Excerpt("kfp", "backend/src/v2/config/env.go", "const (", ")"),
    "provider_keys": Excerpt("kfp", "backend/src/v2/config/s3.go", "type S3ProviderDefault struct"),
    "ttl": Excerpt("kfp", "backend/src/v2/compiler/argocompiler/argo.go", "func buildTTLStrategy"),
    "retry_strategy": Excerpt(
        "kfp", "backend/src/v2/compiler/argocompiler/container.go", "func (c *workflowCompiler) getTaskRetryStrategy"
    ),
    "attempt": Excerpt("kfp", "backend/src/v2/component/launcher_v2.go", "func retryIndexFromPodAnnotation"),
    "terminate": Excerpt("kfp", "backend/src/apiserver/storage/run_store.go", "func (s *RunStore) TerminateRun"),
    "terminating": Excerpt("kfp", "backend/src/common/util/workflow.go", "func (w *Workflow) IsTerminating"),
    "reported_state": Excerpt(
        "kfp", "backend/src/apiserver/resource/resource_manager.go", "	// If the run was Running and got", "	}"
    ),
    "state_history": Excerpt(
        "kfp", "backend/src/apiserver/storage/run_store.go", "func (s *RunStore) UpdateRun(", "	stateHistoryString"
    ),
    "agent_ttl": Excerpt(
        "kfp", "backend/src/agent/persistence/worker/workflow_saver.go", "	if wf.PersistedFinalState", "	}"
    ),
    "retry_policy": Excerpt(
        "argo", "pkg/apis/workflow/v1alpha1/workflow_types.go", "func (s RetryStrategy) RetryPolicyActual"
    ),
    "max_duration": Excerpt(
        "argo", "workflow/controller/operator.go", "		// Process max duration limit", "		}"
    ),
    "pod_deleted": Excerpt(
        "argo", "workflow/controller/operator.go", "			woc.markNodeError(ctx, node.Name,", None
    ),
    "pod_failed": Excerpt(
        "argo", "workflow/controller/operator.go", "		case tmpl.IsMainContainerName(ctr.Name):", "			ret"
    ),
    "pod_finalizer": Excerpt(
        "argo", "workflow/controller/workflowpod.go", "	if os.Getenv(common.EnvVarPodStatusCapture", "	}"
    ),
    "pod_finalizer_name": Excerpt("argo", "workflow/common/common.go", "	EnvVarPodStatusCaptureFinalizer", None),
    "pod_annotations": Excerpt(
        "argo", "workflow/controller/workflowpod.go", "			Annotations: map", "			}"
    ),
}


def main(kfp: str, argo: str) -> None:
    """Write every file of ``theirs/`` anew."""
    clones = {"kfp": (Path(kfp), "kubeflow/pipelines", KFP), "argo": (Path(argo), "argoproj/argo-workflows", ARGO)}
    for name, excerpt in EXCERPTS.items():
        clone, repository, version = clones[excerpt.repository]
        lines = (clone / excerpt.path).read_text(encoding="utf-8").splitlines()
        start = end = _next(lines, excerpt.first, 0)
        if excerpt.last is not None:
            end = _next(lines, excerpt.last, start + 1)
        source = f"// {repository} {version}, {excerpt.path}, lines {start + 1} to {end + 1}. Apache License 2.0.\n"
        (THEIRS / f"{name}.go").write_text(source + "\n".join(lines[start : end + 1]) + "\n", encoding="utf-8")
    for base in BASES:
        _write_base(Path(kfp), base)


def excerpt(name: str) -> str:
    """What the excerpt of this name says."""
    return (THEIRS / f"{name}.go").read_text(encoding="utf-8")


def base_file(base: str) -> Path:
    """Where the objects of one of ``BASES`` are."""
    return THEIRS / f"{base.rpartition('/')[2]}.yaml"


def namespaces_named(text: str) -> list[str]:
    """Lines that name the namespace ``kubeflow``: not images, API groups, labels and names that begin so."""
    return [line.strip() for line in text.splitlines() if _NAMESPACE.search(line)]


def _next(lines: list[str], beginning: str, first: int) -> int:
    return next(number for number in range(first, len(lines)) if lines[number].startswith(beginning))


def _write_base(clone: Path, base: str) -> None:
    whole = subprocess.run(
        ["kubectl", "kustomize", str(clone / "manifests" / "kustomize" / base)],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    source = (
        f"# kubeflow/pipelines {KFP}, manifests/kustomize/{base}, as Kustomize builds it: all objects, without rules,\n"
        "# probes, resources and the like. Apache License 2.0.\n"
    )
    text = yaml.safe_dump_all([_cut(one) for one in yaml.safe_load_all(whole)], sort_keys=True, width=160)
    if len(namespaces_named(text)) != len(namespaces_named(whole)):
        raise SystemExit(f"{base}: what is left out names the namespace too; keep it")
    base_file(base).write_text(source + text, encoding="utf-8")


def _cut(one: dict[str, Any]) -> dict[str, Any]:
    """An object without what says nothing of names, accounts and settings."""
    kept = {key: one[key] for key in ("apiVersion", "kind", "metadata") if key in one}
    kept["metadata"].pop("annotations", None)
    if one["kind"] == "ConfigMap":
        texts = {key: value for key, value in one["data"].items() if key not in ("warning", "envoy.yaml")}
        return kept | {"data": texts}
    if one["kind"] == "Deployment":
        template = one["spec"]["template"]
        pod = {key: template["spec"][key] for key in _POD if key in template["spec"]}
        pod["containers"] = [
            {key: container[key] for key in _CONTAINER if key in container} for container in pod["containers"]
        ]
        metadata = {"labels": template["metadata"]["labels"]}
        return kept | {"spec": {"selector": one["spec"]["selector"], "template": {"metadata": metadata, "spec": pod}}}
    return kept | {key: one[key] for key in ("roleRef", "subjects") if key in one}


if __name__ == "__main__":
    main(*sys.argv[1:])
