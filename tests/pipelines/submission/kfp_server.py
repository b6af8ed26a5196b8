"""A contract double of the Kubeflow Pipelines API: real HTTP, state, and KFP's own description as the judge.

Every request and every answer is checked against the swagger file; what does not fit is answered with 400 and noted in
``violations``, which the fixture looks at when a test ends. It can fail in all the ways that networks and servers do.
"""

from __future__ import annotations

import itertools
import json
import re
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml
from google.protobuf.json_format import ParseDict, ParseError
from kfp.pipeline_spec import pipeline_spec_pb2

from tests.pipelines.submission.swagger import Operation, operation_of

_DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_NOT_FOUND, _BAD, _CONFLICT = (404, 5), (400, 3), (409, 6)


@dataclass(frozen=True)
class Fault:
    """How a request goes wrong.

    Attributes:
        status: Answer with this status; None for none.
        message: In the answer.
        done: The request takes effect all the same.
        cut: ``silent`` closes the connection without an answer, ``middle`` in the middle of it.
        slow_sec: Wait; after the request took effect where ``done``, else before.
        page: Answer with this web page.
        body: Answer with these bytes, whatever they are.
        headers: Of the answer.
        before: Called just before.
    """

    status: int | None = None
    message: str = "injected"
    done: bool = False
    cut: str = ""
    slow_sec: float = 0.0
    page: str = ""
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    before: Callable[[], None] | None = None


class RefusalError(Exception):
    """An answer that is an error of the API."""

    def __init__(self, kind: tuple[int, int], message: str) -> None:
        super().__init__(message)
        self.status, self.code = kind


@dataclass
class Request:
    """One request as it came."""

    method: str
    path: str
    template: str
    query: dict[str, list[str]]
    body: Any
    authorization: str
    cookie: str = ""


@dataclass
class KfpServer:
    """The double, and all that it knows."""

    url: str = ""
    tokens: set[str] = field(default_factory=set)  # empty: no login
    multi_user: bool = False
    requests: list[Request] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    pipelines: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, dict[str, Any]] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)  # as uploaded, by version
    experiments: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    schedules: dict[str, dict[str, Any]] = field(default_factory=dict)
    script: list[dict[str, Any]] = field(default_factory=list)  # what looks at a run see, one after the other
    faults: list[tuple[str, str, Fault]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    looks: dict[str, Iterator[dict[str, Any]]] = field(default_factory=dict)
    clock: Iterator[int] = field(default_factory=itertools.count)

    def fail(self, method: str, template_end: str, *faults: Fault) -> None:
        """Let the next requests of a kind fail, one fault each; the template's end says which."""
        self.faults += [(method, template_end, fault) for fault in faults]

    def asked(self, method: str, template_end: str) -> list[Request]:
        """The requests of a kind so far."""
        return [each for each in self.requests if each.method == method and each.template.endswith(template_end)]

    def now(self) -> str:
        """A time that goes on by a second whenever it is asked for."""
        return (
            (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=next(self.clock))).isoformat().replace("+00:00", "Z")
        )

    # --- what the API does -------------------------------------------------------------------------------------

    def answer(self, operation: Operation, path: dict[str, str], request: Request, form: dict[str, bytes]) -> Any:
        """The content of a good answer; raises :class:`RefusalError` for another."""
        resource = operation.template.removeprefix("/apis/v2beta1/")
        work = _WORK.get((operation.method, resource))
        if work is None:
            raise RefusalError((501, 12), f"the double does not know {operation.method} {resource}")
        query = {name: values[0] for name, values in request.query.items()}
        with self.lock:
            return work(self, path, query, request.body, form)

    def _healthz(self, *_: Any) -> Any:
        return {"multi_user": self.multi_user, "pipeline_store": "kubernetes"}

    def _create_pipeline(self, path: Any, query: Any, body: Any, form: Any) -> Any:
        name = body.get("name", "")
        if not _DNS_NAME.fullmatch(name):
            raise RefusalError(_BAD, f"pipeline name {name!r} is no DNS name")
        if any(
            each["name"] == name and each.get("namespace") == body.get("namespace") for each in self.pipelines.values()
        ):
            raise RefusalError(_CONFLICT, f"pipeline {name} already exists")
        made = {**body, "pipeline_id": _id(), "created_at": self.now()}
        self.pipelines[made["pipeline_id"]] = made
        return made

    def _pipeline_by_name(self, path: Any, query: Any, body: Any, form: Any) -> Any:
        wanted = (path["name"], query.get("namespace"))
        for each in self.pipelines.values():
            if (each["name"], each.get("namespace")) == wanted:
                return each
        raise RefusalError(_NOT_FOUND, f"no pipeline {path['name']}")

    def _upload_version(self, path: Any, query: Any, body: Any, form: Any) -> Any:
        if query.get("pipelineid") not in self.pipelines:
            raise RefusalError(_NOT_FOUND, "Failed to create a pipeline version")
        name, text = query["name"], form["uploadfile"].decode()
        if not _DNS_NAME.fullmatch(name):
            raise RefusalError(_BAD, f"version name {name!r} is no DNS name")
        if any(each["pipeline_id"] == query["pipelineid"] and each["name"] == name for each in self.versions.values()):
            raise RefusalError(_CONFLICT, "Failed to create a pipeline version")
        try:
            spec, *platform = yaml.load_all(text, Loader=yaml.CSafeLoader)
            ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
            for document in platform:
                ParseDict(document, pipeline_spec_pb2.PlatformSpec())
        except (yaml.YAMLError, ParseError) as error:
            raise RefusalError(_BAD, f"invalid package: {error}") from None
        made = {
            "pipeline_id": query["pipelineid"], "pipeline_version_id": _id(), "name": name, "display_name": name,
            "description": query.get("description", ""), "created_at": self.now(),
            "pipeline_spec": {"pipeline_spec": spec, "platform_spec": platform[0]} if platform else spec,
        }  # fmt: skip
        self.versions[made["pipeline_version_id"]] = made
        self.packages[made["pipeline_version_id"]] = text
        return made

    def _list_versions(self, path: Any, query: Any, body: Any, form: Any) -> Any:
        mine = [each for each in self.versions.values() if each["pipeline_id"] == path["pipeline_id"]]
        return _page("pipeline_versions", mine, query)

    def _get_version(self, path: Any, query: Any, body: Any, form: Any) -> Any:
        return _there(self.versions, path["pipeline_version_id"], "pipeline version")

    def _create_experiment(self, path: Any, query: Any, body: Any, form: Any) -> Any:
        key = (body["display_name"], body.get("namespace"))
        if any((each["display_name"], each.get("namespace")) == key for each in self.experiments.values()):
            raise RefusalError(_CONFLICT, f"experiment {key[0]} already exists")
        made = {**body, "experiment_id": _id(), "created_at": self.now(), "storage_state": "AVAILABLE"}
        self.experiments[made["experiment_id"]] = made
        return made

    def _list_experiments(self, path: Any, query: Any, body: Any, form: Any) -> Any:
        mine = [each for each in self.experiments.values() if each.get("namespace") == query.get("namespace")]
        return _page("experiments", mine, query)

    def _check_order(self, body: Any) -> None:
        _there(self.experiments, body.get("experiment_id"), "experiment")
        reference = body["pipeline_version_reference"]
        version = _there(self.versions, reference["pipeline_version_id"], "pipeline version")
        spec = version["pipeline_spec"].get("pipeline_spec", version["pipeline_spec"])
        known = spec["root"].get("inputDefinitions", {}).get("parameters", {})
        given = body["runtime_config"].get("parameters", {})
        unknown = sorted(set(given) - set(known))
        missing = sorted(name for name in set(known) - set(given) if "defaultValue" not in known[name])
        if unknown or missing or not body.get("display_name"):
            raise RefusalError(_BAD, f"unknown parameters {unknown}, missing parameters {missing}")

    def _create_run(self, path: Any, query: Any, body: Any, form: Any) -> Any:
        self._check_order(body)
        made = {**body, "run_id": _id(), "created_at": self.now(), "state": "PENDING", "storage_state": "AVAILABLE"}
        self.runs[made["run_id"]] = made
        self.looks[made["run_id"]] = iter(self.script)
        return made

    def _get_run(self, path: Any, query: Any, body: Any, form: Any) -> Any:
        run = _there(self.runs, path["run_id"], "run")
        if run["state"] == "CANCELING":  # seen so by the agent first, and then as Argo ended it; never as CANCELED
            now = "FAILED" if _last_state(run) == "CANCELING" else "CANCELING"
            self._report(run, now)
        elif run["state"] not in ("SUCCEEDED", "FAILED", "SKIPPED"):
            run.update(next(self.looks[run["run_id"]], {}))
            self._report(run, run["state"])
        return run

    def _report(self, run: dict[str, Any], state: str) -> None:
        """What RunStore.UpdateRun does (tests/deploy/kubeflow/theirs/state_history.go)."""
        run["state"] = state
        if _last_state(run) != state:
            run.setdefault("state_history", []).append({"update_time": self.now(), "state": state})

    def _list_runs(self, path: Any, query: Any, body: Any, form: Any) -> Any:
        if self.multi_user and not (query.get("namespace") or query.get("experiment_id")):
            raise RefusalError(_BAD, "namespace or experiment is required")
        mine = [r for r in self.runs.values() if query.get("experiment_id") in (None, "", r["experiment_id"])]
        return _page("runs", mine, query)

    def _terminate_run(self, path: Any, query: Any, body: Any, form: Any) -> Any:
        """As RunStore.TerminateRun: the state alone (tests/deploy/kubeflow/theirs/terminate.go)."""
        _there(self.runs, path["run_id"], "run")["state"] = "CANCELING"
        return {}

    def _create_schedule(self, path: Any, query: Any, body: Any, form: Any) -> Any:
        self._check_order(body)
        if len(body["trigger"]["cron_schedule"]["cron"].split()) != 6 or not 1 <= int(body["max_concurrency"]) <= 10:
            raise RefusalError(_BAD, "invalid schedule")
        made = {**body, "recurring_run_id": _id(), "created_at": self.now(), "status": "ENABLED"}
        self.schedules[made["recurring_run_id"]] = made
        return made

    def _list_schedules(self, path: Any, query: Any, body: Any, form: Any) -> Any:
        mine = [s for s in self.schedules.values() if query.get("experiment_id") in (None, "", s["experiment_id"])]
        return _page("recurringRuns", mine, query)

    def _delete_schedule(self, path: Any, query: Any, body: Any, form: Any) -> Any:
        _there(self.schedules, path["recurring_run_id"], "recurring run")
        del self.schedules[path["recurring_run_id"]]
        return {}


_WORK: dict[tuple[str, str], Callable[..., Any]] = {
    ("GET", "healthz"): KfpServer._healthz,
    ("POST", "pipelines"): KfpServer._create_pipeline,
    ("GET", "pipelines/names/{name}"): KfpServer._pipeline_by_name,
    ("POST", "pipelines/upload_version"): KfpServer._upload_version,
    ("GET", "pipelines/{pipeline_id}/versions"): KfpServer._list_versions,
    ("GET", "pipelines/{pipeline_id}/versions/{pipeline_version_id}"): KfpServer._get_version,
    ("POST", "experiments"): KfpServer._create_experiment,
    ("GET", "experiments"): KfpServer._list_experiments,
    ("POST", "runs"): KfpServer._create_run,
    ("GET", "runs"): KfpServer._list_runs,
    ("GET", "runs/{run_id}"): KfpServer._get_run,
    ("POST", "runs/{run_id}:terminate"): KfpServer._terminate_run,
    ("POST", "recurringruns"): KfpServer._create_schedule,
    ("GET", "recurringruns"): KfpServer._list_schedules,
    ("DELETE", "recurringruns/{recurring_run_id}"): KfpServer._delete_schedule,
}


def tasks(**states: str) -> dict[str, Any]:
    """The task list of a run as KFP 2 gives it: with the workflow, drivers and executors among the steps."""
    listed: list[dict[str, Any]] = [
        {"display_name": "d3d-x7k2p", "state": "RUNNING"},
        {"display_name": "root-driver", "state": "SUCCEEDED"},
    ]
    for name, state in states.items():
        key = name.replace("_", "-")
        listed += [
            {"display_name": f"{key}-driver", "state": "SUCCEEDED"},
            {"display_name": key, "state": state, "child_tasks": [{"pod_name": f"d3d-x7k2p-{key}"}]},
            {"display_name": "executor", "state": state},
        ]
    return {"run_details": {"task_details": [{"task_id": str(number), **task} for number, task in enumerate(listed)]}}


@contextmanager
def kfp_server(tls: ssl.SSLContext | None = None, state: KfpServer | None = None) -> Iterator[KfpServer]:
    """Serve a double, by default a fresh one, on a free port."""
    state = state or KfpServer()

    class Handler(_Handler):
        server_state = state

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        if tls is not None:
            served.socket = tls.wrap_socket(served.socket, server_side=True)
        state.url = f"http{'s' if tls else ''}://127.0.0.1:{served.server_address[1]}"
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            served.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: KfpServer

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _serve(self) -> None:
        state, parts = self.server_state, urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        found = operation_of(self.command, parts.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        query = {name: values for name, values in query.items() if values != [""]}  # protobuf's default: not given
        body, form = _read_body(raw, self.headers)
        request = Request(
            self.command,
            parts.path,
            found[0].template if found else "",
            query,
            body,
            self.headers.get("Authorization", ""),
            self.headers.get("Cookie", ""),
        )
        with state.lock:
            state.requests.append(request)
            fault = _next_fault(state, request)
        if fault.before:
            fault.before()
        if not fault.done:
            time.sleep(fault.slow_sec)
        if fault.cut == "silent" and not fault.done:
            self._cut()
        elif fault.body is not None or fault.page:
            kind = "text/html; charset=utf-8" if fault.page else "application/json"
            self._send(fault.status or 200, fault.page.encode() or fault.body or b"", kind)
        elif fault.status is not None and not fault.done:
            self._send_json(fault.status, _error(fault.status, fault.message), fault.headers)
        else:
            status, content = self._content(found, request, form)
            if fault.done:
                time.sleep(fault.slow_sec)
            if fault.status is not None:
                status, content = fault.status, _error(fault.status, fault.message)
            if fault.cut == "silent":
                self._cut()
            else:
                self._send_json(status, content, fault.headers, half=fault.cut == "middle")

    def _content(
        self, found: tuple[Operation, dict[str, str]] | None, request: Request, form: dict[str, bytes]
    ) -> tuple[int, Any]:
        state = self.server_state
        if state.tokens and request.authorization not in {f"Bearer {token}" for token in state.tokens}:
            return 401, _error(401, "Unauthenticated")
        if found is None:
            state.violations.append(f"{request.method} {request.path}: no such path")
            return 404, _error(404, "Not Found")
        operation, path = found
        faults = operation.faults_of_request(request.query, request.body, form)
        if faults:
            state.violations += [f"{request.method} {request.path}: {fault}" for fault in faults]
            return 400, _error(400, "; ".join(faults))
        try:
            status, content = 200, state.answer(operation, {k: unquote(v) for k, v in path.items()}, request, form)
        except RefusalError as refusal:
            if operation.template.endswith("/upload_version"):  # written by hand in KFP, and not as its swagger says
                return refusal.status, {"error_message": str(refusal), "error_details": f"Error: {refusal}"}
            status, content = refusal.status, {"code": refusal.code, "message": str(refusal), "details": []}
        faults = operation.faults_of_answer(status, content)
        state.violations += [f"{request.method} {request.path}: {fault}" for fault in faults]
        return status, content

    def _send_json(
        self, status: int, content: Any, headers: tuple[tuple[str, str], ...] = (), half: bool = False
    ) -> None:
        self._send(status, json.dumps(content).encode(), "application/json", headers, half=half)

    def _send(
        self, status: int, body: bytes, kind: str, headers: tuple[tuple[str, str], ...] = (), *, half: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if half else body)
        if half:
            self._cut()

    def _cut(self) -> None:
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True


def _next_fault(state: KfpServer, request: Request) -> Fault:
    for number, (method, end, fault) in enumerate(state.faults):
        if method == request.method and request.template.endswith(end):
            del state.faults[number]
            return fault
    return Fault()


def _read_body(raw: bytes, headers: Message) -> tuple[Any, dict[str, bytes]]:
    kind = headers.get("Content-Type", "")
    if kind.startswith("multipart/form-data"):
        message = BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + raw)
        parts = [part for part in message.walk() if not part.is_multipart()]
        return None, {
            str(part.get_param("name", header="content-disposition")): bytes(part.get_payload(decode=True) or b"")
            for part in parts
        }
    return (json.loads(raw) if raw else None), {}


def _page(key: str, found: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
    """One page of a list, as KFP gives it: filtered, in order, without empty keys."""
    for predicate in json.loads(query.get("filter", "{}")).get("predicates", []):
        assert predicate["operation"] == "EQUALS"
        found = [each for each in found if each.get(predicate["key"]) == predicate["string_value"]]
    by, _, direction = query.get("sort_by", "created_at").partition(" ")
    found = sorted(found, key=lambda each: each[by], reverse=direction == "desc")
    first, size = int(query.get("page_token", "0")), int(query.get("page_size", "10"))
    page: dict[str, Any] = {key: found[first : first + size]} if found[first : first + size] else {}
    page |= {"next_page_token": str(first + size)} if len(found) > first + size else {}
    return page | ({"total_size": len(found)} if found else {})


def _last_state(run: dict[str, Any]) -> str:
    return str(run["state_history"][-1]["state"]) if run.get("state_history") else ""


def _there(kept: dict[str, dict[str, Any]], key: Any, kind: str) -> dict[str, Any]:
    if key not in kept:
        raise RefusalError(_NOT_FOUND, f"{kind} {key} not found")
    return kept[key]


def _error(status: int, message: str) -> dict[str, Any]:
    return {"code": {400: 3, 401: 16, 403: 7, 404: 5, 409: 6}.get(status, 13), "message": message, "details": []}


def _id() -> str:
    return str(uuid.uuid4())
