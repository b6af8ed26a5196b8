"""What is sent to a cluster, looked at without one; and that a machine without one is told so."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from pipelines.cluster.package import compile_for_cluster
from pipelines.dag.graph import graph_of
from pipelines.dag.params import load_cluster, load_params
from tests.deploy.manifests import kustomized, of_kind
from tests.kubernetes.site import ROOT, Site, long_on_two_nodes, out_of_memory, small_params

SITE = Site(f"registry.example.com/test/kineflow@sha256:{'1' * 64}", "standard", "ReadWriteOnce")
pytestmark = pytest.mark.slow


def test_the_overlay_is_valid_and_names_the_image_and_the_volume(tmp_path: Path) -> None:
    objects = kustomized(SITE.write_overlay(tmp_path / "overlay"))
    for one in (*objects, SITE.data_pod()):
        kubernetes_validate.validate(one, "1.37", strict=True)
    [claim] = of_kind(objects, "PersistentVolumeClaim")
    assert (claim["spec"]["storageClassName"], claim["spec"]["accessModes"]) == ("standard", ["ReadWriteOnce"])
    text = yaml.safe_dump_all(objects)
    assert SITE.image in text
    assert "sha256:0000" not in text


def test_a_clusters_default_class_is_taken_where_none_is_named(tmp_path: Path) -> None:
    [claim] = of_kind(kustomized(Site(SITE.image).write_overlay(tmp_path)), "PersistentVolumeClaim")
    assert "storageClassName" not in claim["spec"]


@pytest.mark.parametrize("made", [small_params, out_of_memory, long_on_two_nodes])
def test_what_is_submitted_compiles(made: Any, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(made(SITE.image)), encoding="utf-8")
    params, cluster = load_params(graph_of("d3d"), path), load_cluster(path)
    assert cluster is not None
    package = compile_for_cluster("d3d", params, cluster, data=None)
    assert ("KINEFLOW_TRAINJOB" in package) == (made is long_on_two_nodes)


@pytest.mark.parametrize(("image", "code"), [("", 0), (SITE.image, 1)])
def test_a_machine_without_a_cluster_is_told_so_and_why(tmp_path: Path, image: str, code: int) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\necho E1201 memcache.go >&2; echo 'no route to host' >&2; exit 1\n")
    kubectl.chmod(0o755)
    told = subprocess.run(
        [ROOT / "tests" / "kubernetes" / "run.sh"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "KINEFLOW_TEST_IMAGE": image},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert told.returncode == code
    assert "SKIPPED: the tests on a cluster have NOT run" in told.stdout
    assert "): no route to host\n" in told.stdout
