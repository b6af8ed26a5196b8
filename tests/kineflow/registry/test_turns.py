"""Through one MLflow server: two machines that promote at once, connections that are cut, and who is told of it."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from kineflow.registry import promotion, turns
from kineflow.registry.history import Event, begin, history
from kineflow.registry.policy import Gate
from kineflow.registry.promotion import promote, rollback
from kineflow.registry.registration import register_student
from kineflow.storage.errors import KineflowError
from kineflow.tracking.store import connect, tracking_uri
from tests.cutting_proxy import CuttingProxy, cutting_proxy
from tests.kineflow.registry.test_aliases import SHOWN, answers
from tests.kineflow.tracking.test_servers import free_port, running

pytestmark = pytest.mark.slow

HEARD: list[dict[str, Any]] = []


class Listener(BaseHTTPRequestHandler):
    """Takes what a webhook sends."""

    def do_POST(self) -> None:
        HEARD.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def bundles(make_bundle: Callable[[int], Path]) -> list[Path]:
    return [make_bundle(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CuttingProxy]:
    """An MLflow server behind a proxy, which may send webhooks to this machine."""
    port, folder = free_port(), tmp_path_factory.mktemp("server")
    serve = ["server", "--port", str(port), "--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db",
             "--artifacts-destination", "./served"]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_WEBHOOK_ALLOWED_SCHEMES", "http")
        patch.setenv("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true")
        patch.setenv("MLFLOW_WEBHOOK_CACHE_TTL", "1")  # a minute by default: so long a new one is not known
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        health = f"http://127.0.0.1:{port}/health"
        with running(serve, health=health, folder=folder), cutting_proxy(f"http://127.0.0.1:{port}") as proxy:
            yield proxy


@pytest.fixture
def name(
    server: CuttingProxy, bundles: list[Path], project: Path, monkeypatch: pytest.MonkeyPatch, request: Any
) -> str:
    """A model on the server: version 1 is its champion, 2 and 3 are better."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.endpoint_url)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    name = request.node.name.removeprefix("test_")[:60]
    for bundle, shown in zip(bundles, SHOWN[:3], strict=True):
        register_student(bundle, name=name, evaluation=shown, outcomes=answers(shown), gate=Gate())
    assert promote(name, "1", dry_run=False).applied
    return name


def aliases(name: str) -> dict[str, str]:
    return {alias: str(number) for alias, number in connect().get_registered_model(name).aliases.items()}


def test_of_two_at_once_the_better_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    both_have_decided, real = threading.Barrier(2), turns.turn

    def together(*args: Any) -> Any:
        both_have_decided.wait(120)
        return real(*args)

    monkeypatch.setattr(promotion, "store_lock", lambda uri: nullcontext())  # a file of one machine
    monkeypatch.setattr(promotion, "turn", together)
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda number: promote(name, number, dry_run=False), ("2", "3")))
    assert [each.champion for each in made].count("1") == 1, "one was decided again, against the other"
    assert aliases(name)["champion"] == "3"
    assert aliases(name)["previous"] == ("2" if made[0].applied else "1")
    done = [event.version for event in history(name) if event.action == "promotion"]
    assert done == (["3", "2", "1"] if made[0].applied else ["3", "1"])


def test_another_machines_turn_is_waited_for_until_it_is_over(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client, uri = connect(), tracking_uri()
    theirs = Event("promotion", name, "2", "1", by="bob", holder="elsewhere:1:x", until=2e9)
    monkeypatch.setattr(turns, "WAIT_SEC", 0.0)
    begin(client, uri, theirs)
    with pytest.raises(KineflowError, match=r"the promotion of version 2 by bob at .* is under way"):
        promote(name, "3", dry_run=False)
    assert aliases(name)["champion"] == "1"
    monkeypatch.setattr(turns.time, "time", lambda: 2e9 + 100)
    made = promote(name, "3", dry_run=False)
    assert "was cut short before anything was moved" in made.notes[0]
    assert (aliases(name)["champion"], aliases(name)["previous"]) == ("3", "1")


def test_a_connection_cut_between_two_moves_is_mended(
    name: str, server: CuttingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert promote(name, "2", dry_run=False).applied
    from mlflow import MlflowClient

    real, calls = MlflowClient.set_registered_model_alias, iter(range(9))

    def cut_at_the_second(self: Any, *args: Any) -> Any:
        if next(calls) == 1:
            server.cut_after(sent=1, stay_down=True)
        return real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", cut_at_the_second)
        with pytest.raises(KineflowError, match="the store went away while aliases were moved"):
            promote(name, "3", dry_run=False)
    server.mend()
    assert (aliases(name)["champion"], aliases(name)["previous"]) == ("3", "1")
    again = rollback(name)
    assert "the promotion of version 3" in again.notes[0]
    assert "is finished now" in again.notes[0]
    assert (again.version, again.replaced) == ("2", "3")
    assert (aliases(name)["champion"], aliases(name)["previous"]) == ("2", "1")


def test_a_webhook_hears_of_a_promotion(name: str) -> None:
    listener = HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    try:
        connect().create_webhook(
            name="champions", url=f"http://127.0.0.1:{listener.server_port}/", events=["model_version_alias.created"]
        )
        assert promote(name, "2", dry_run=False).applied
        for _ in range(300):
            if any(each["data"].get("alias") == "champion" for each in HEARD):
                break
            threading.Event().wait(0.1)
        [said] = [each["data"] for each in HEARD if each["data"]["alias"] == "champion"]
        assert (said["name"], said["version"]) == (name, "2")
    finally:
        listener.shutdown()
