"""Pods, their logs and config maps over real HTTP, as the Kubernetes client asks for them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml


@dataclass
class KubeServer:
    """What there is, and what was asked."""

    url: str = ""
    pods: list[dict[str, Any]] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    config_maps: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)  # data, by namespace and name
    status: int = 200
    requests: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)

    def add(self, run_id: str, name: str, log: str, *, task: str = "", node: str = "", namespace: str = "anna") -> None:
        """A pod of a run; of a step if it has our label or Argo's place in the graph of one."""
        labels = {"pipeline/runid": run_id} | ({"kineflow.io/task": task} if task else {})
        annotations = {"workflows.argoproj.io/node-name": node} if node else {}
        created = f"2026-01-01T00:00:{len(self.pods):02d}Z"
        metadata = {"name": name, "namespace": namespace, "labels": labels, "annotations": annotations}
        self.pods.append({"metadata": {**metadata, "creationTimestamp": created}, "status": {"phase": "Failed"}})
        self.logs[name] = log

    def kubeconfig(self, folder: Path, namespace: str = "anna") -> Path:
        """A kubeconfig that leads here."""
        context = {"cluster": "c", "user": "u"} | ({"namespace": namespace} if namespace else {})
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "u", "user": {"token": "kube-token"}}],
            "contexts": [{"name": "x", "context": context}],
        }))  # fmt: skip
        return path


@contextmanager
def kube_server() -> Iterator[KubeServer]:
    """Serve on a free port."""
    state = KubeServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts, query = urlsplit(self.path), parse_qs(urlsplit(self.path).query)
            state.requests.append((parts.path, query))
            *_, namespace, kind, name, sub = [*parts.path.split("/"), "", ""][3:8]
            assert kind in ("pods", "configmaps")
            body, content, status = b"", "application/json", state.status
            if kind == "configmaps" and status == 200 and (namespace, name) not in state.config_maps:
                status = 404
            if status != 200:
                body = json.dumps({"kind": "Status", "message": "no"}).encode()
            elif kind == "configmaps":
                body = json.dumps({"kind": "ConfigMap", "data": state.config_maps[namespace, name]}).encode()
            elif sub == "log":
                assert query["container"] == ["main"]
                body = "".join(state.logs[name].splitlines(keepends=True)[-int(query["tailLines"][0]) :]).encode()
                content = "text/plain"
            else:
                key, _, value = query["labelSelector"][0].partition("=")
                found = [
                    pod for pod in state.pods
                    if pod["metadata"]["labels"].get(key) == value and pod["metadata"]["namespace"] == namespace
                ]  # fmt: skip
                body = json.dumps({"kind": "PodList", "apiVersion": "v1", "items": found}).encode()
            self.send_response(status)
            self.send_header("Content-Type", content)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        state.url = f"http://127.0.0.1:{served.server_address[1]}"
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            served.shutdown()
            thread.join()
