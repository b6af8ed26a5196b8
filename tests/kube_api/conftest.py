"""A real Kubernetes API server for custom resources, of the binaries that ``tests/kube_api/build.sh`` builds."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

BIN = Path(__file__).resolve().parents[2] / ".tools" / "kube-api" / "bin"
START_SEC = 120
# Admission that needs the rest of a cluster (namespaces, webhooks), which is not there.
WITHOUT = (
    "NamespaceLifecycle", "MutatingAdmissionWebhook", "ValidatingAdmissionWebhook",
    "ValidatingAdmissionPolicy", "MutatingAdmissionPolicy",
)  # fmt: skip


@dataclass(frozen=True)
class KubeApi:
    """A running server.

    Attributes:
        kubeconfig: How to reach it, as an administrator.
    """

    kubeconfig: Path

    def client(self) -> Any:
        """A client of the ``kubernetes`` package."""
        from kubernetes import config

        return config.new_client_from_config(str(self.kubeconfig))


@pytest.fixture(scope="session")
def kube_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApi]:
    """The server with its store; both are gone afterwards."""
    binaries = [BIN / name for name in ("etcd", "apiextensions-apiserver")]
    if not all(binary.is_file() for binary in binaries):
        pytest.skip("no Kubernetes API server here; build one, as root, with: sh tests/kube_api/build.sh")
    folder = tmp_path_factory.mktemp("kube-api")
    _make_certificates(folder)
    store, peer, port = _free_ports(3)
    kubeconfig = _write_kubeconfig(folder, port)
    started = []
    try:
        started.append(_start(folder, "etcd", [
            f"--data-dir={folder}/etcd", f"--listen-client-urls=http://127.0.0.1:{store}",
            f"--advertise-client-urls=http://127.0.0.1:{store}", f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}", f"--initial-cluster=default=http://127.0.0.1:{peer}",
        ]))  # fmt: skip
        started.append(_start(folder, "apiextensions-apiserver", [
            f"--etcd-servers=http://127.0.0.1:{store}", "--bind-address=127.0.0.1", f"--secure-port={port}",
            f"--client-ca-file={folder}/ca.crt", f"--tls-cert-file={folder}/server.crt",
            f"--tls-private-key-file={folder}/server.key", f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}", f"--authorization-kubeconfig={kubeconfig}",
            "--authentication-skip-lookup", "--authentication-tolerate-lookup-failure",
            "--enable-priority-and-fairness=false", f"--disable-admission-plugins={','.join(WITHOUT)}",
        ]))  # fmt: skip
        api = KubeApi(kubeconfig)
        _wait_for(api, started, folder)
        yield api
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(timeout=30)


def _start(folder: Path, name: str, arguments: list[str]) -> subprocess.Popen[bytes]:
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [BIN / name, *arguments], cwd=folder, env={"PATH": os.environ["PATH"]}, stdout=log, stderr=log
        )


def _wait_for(api: KubeApi, processes: list[subprocess.Popen[bytes]], folder: Path) -> None:
    from kubernetes.client import ApiextensionsV1Api

    until, trouble = time.monotonic() + START_SEC, "it did not start"
    while time.monotonic() < until and all(process.poll() is None for process in processes):
        try:
            ApiextensionsV1Api(api.client()).list_custom_resource_definition(_request_timeout=5)
        except Exception as error:  # not up yet, in any of a dozen ways
            trouble = str(error)
            time.sleep(0.3)
        else:
            return
    pytest.fail("\n".join([trouble, *(log.read_text()[-2000:] for log in folder.glob("*.log"))]))


def _make_certificates(folder: Path) -> None:
    """An authority, a server of 127.0.0.1, and an administrator."""
    run = {"cwd": folder, "check": True, "capture_output": True}
    subject = ["-subj", "/CN=kineflow-test"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject,
         "-keyout", "ca.key", "-out", "ca.crt"], **run,
    )  # fmt: skip
    (folder / "server.ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    (folder / "admin.ext").write_text("extendedKeyUsage=clientAuth\n")
    for name, who in (("server", "/CN=127.0.0.1"), ("admin", "/O=system:masters/CN=admin")):
        subprocess.run(
            ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", who,
             "-keyout", f"{name}.key", "-out", f"{name}.csr"], **run,
        )  # fmt: skip
        subprocess.run(
            ["openssl", "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
             "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.crt"], **run,
        )  # fmt: skip


def _write_kubeconfig(folder: Path, port: int) -> Path:
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {
            "server": f"https://127.0.0.1:{port}", "certificate-authority": f"{folder}/ca.crt"}}],
        "users": [{"name": "admin", "user": {
            "client-certificate": f"{folder}/admin.crt", "client-key": f"{folder}/admin.key"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin", "namespace": "kineflow"}}],
    }))  # fmt: skip
    return path


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
