"""The server's application, asked without a socket."""

import asyncio
import base64
import json
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest

from kineflow.models.card import load_card
from kineflow.serving import app
from kineflow.serving.app import served
from kineflow.serving.served_model import load_video_model, save_video_model
from kineflow.serving.trial import example_video
from kineflow.video.encode import write_video

pytestmark = pytest.mark.slow


class Answer(NamedTuple):
    status_code: int
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


class Client:
    """Asks an ASGI application; its loop goes on from one request to the next. In a body, a number is a silence."""

    def __init__(self, app: Any) -> None:
        self.app, self.loop = app, asyncio.new_event_loop()

    def ask(
        self, path: str, parts: Iterable[bytes | float] = (), *, kind: str = "application/json", length: str = ""
    ) -> Answer:
        waiting, sent = iter(parts), list[Any]()

        async def receive() -> dict[str, Any]:
            part = next(waiting, None)
            if isinstance(part, float):
                await asyncio.sleep(part)
                part = b" "
            return {"type": "http.request", "body": part or b"", "more_body": part is not None}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"content-type", kind.encode())] + [(b"content-length", length.encode())] * bool(length)
        method = "POST" if path == "/invocations" else "GET"
        scope = {"type": "http", "method": method, "path": path, "headers": headers, "query_string": b""}
        self.loop.run_until_complete(self.app(scope, receive, send))
        return Answer(sent[0]["status"], b"".join(each.get("body", b"") for each in sent[1:]).decode())

    def post(self, content: Any) -> Answer:
        return self.ask("/invocations", [json.dumps(content).encode()])


@pytest.fixture(scope="module")
def classifier(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("saved") / "model"
    save_video_model(folder, bundle, limits={"max_videos": 3, "max_video_bytes": 100_000})
    return load_video_model(str(folder)).unwrap_python_model()


@pytest.fixture(scope="module")
def client(classifier: Any) -> Iterator[Any]:
    client = Client(served(classifier, timeout_sec=60, version="3"))
    yield client
    client.loop.close()


@pytest.fixture(scope="module")
def video(bundle: Path) -> str:
    return base64.b64encode(example_video(load_card(bundle))).decode()


def test_every_form_gets_the_same_answer(client: Any, video: str) -> None:
    forms = (
        {"dataframe_records": [{"video": video}]},
        {"instances": [{"video": video}]},
        {"inputs": {"video": [video]}},
        {"inputs": [video]},
    )
    answers = [client.post({**form, "params": {"topk": 2}}) for form in forms]
    assert [answer.status_code for answer in answers] == [200] * 4
    [row] = answers[0].json()["predictions"]
    assert sum(row["probabilities"].values()) == pytest.approx(1)
    assert len(row["top"]) == 2
    assert all(answer.json() == answers[0].json() for answer in answers)


def test_it_says_that_it_is_there(client: Any) -> None:
    assert [client.ask(f"/{name}").status_code for name in ("ping", "health", "version")] == [200] * 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"inputs": [base64.b64encode(b"no video " * 1000).decode()]}, "video 0: not readable as a video"),
        ({"instances": ["A" * 9999 + "?"]}, "video 0: not base64"),
        ({"instances": [{"film": "A" * 9999}]}, "video 0: base64 text is expected"),
        ({"inputs": ["QUFB"] * 4}, "4 videos in one request"),
        ({"inputs": ["QUFB"], "params": {"topk": "A" * 9999}}, "topk must be a whole number"),
        ({"inputs": ["QUFB"], "params": {"topk": 0}}, "topk must be at least 1"),
        ({"A" * 9999: 1}, "one of dataframe_records"),
    ],
)
def test_a_refusal_is_short_and_repeats_nothing(client: Any, content: dict[str, Any], message: str) -> None:
    answer = client.post(content)
    assert answer.status_code == 400
    assert message in answer.json()["message"]
    assert len(answer.text) < 600
    assert "A" * 20 not in answer.text


def test_a_large_body_is_not_read(client: Any) -> None:
    parts: list[int] = []

    def body() -> Iterator[bytes]:
        for number in range(100):
            parts.append(number)
            yield b"A" * 100_000

    assert client.ask("/invocations", body()).status_code == 413
    assert len(parts) < 20
    assert client.ask("/invocations", [b"{}"], length="9" * 12).status_code == 413


def test_only_json_is_taken(client: Any) -> None:
    for kind in ("text/csv", "application/vnd.apache.parquet", ""):
        assert client.ask("/invocations", [b"x"], kind=kind).status_code == 415


def test_a_small_file_of_many_pixels_is_refused(client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kineflow.serving import served_model

    path = tmp_path / "black.mp4"
    write_video(path, (np.zeros((64, 64, 3), np.uint8) for _ in range(60)), fps=25)
    text = base64.b64encode(path.read_bytes()).decode()
    assert client.post({"inputs": [text]}).status_code == 200
    monkeypatch.setattr(served_model, "_PIXELS_OF_ANY_VIDEO", 30 * 64 * 64)
    monkeypatch.setattr(served_model, "_PIXELS_A_BYTE", 1)
    answer = client.post({"inputs": [text]})
    assert answer.status_code == 400
    assert "frames of 64x64 px" in answer.json()["message"]


def test_the_videos_of_a_request_share_its_pixels(
    classifier: Any, client: Any, video: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(classifier.limits, "max_video_pixels", 9 * 64 * 64)  # the example has nine frames
    assert client.post({"inputs": [video]}).status_code == 200
    assert "video 0: more than" in client.post({"inputs": [video] * 2}).json()["message"]


def test_a_late_answer_is_said_and_the_next_waits_for_it() -> None:
    go, running = threading.Event(), []

    class Slow:
        limits: ClassVar = {"max_video_bytes": 1000}

        def predict(self, _: Any, table: Any, params: Any) -> Any:
            import pandas as pd

            running.append(len(table))
            if len(table) == 2:
                go.wait(30)
            running.append(-len(table))
            return pd.DataFrame([{"label": "x"}])

    client = Client(served(Slow(), timeout_sec=0.3))
    assert client.post({"inputs": ["QUFB"] * 2}).status_code == 504
    assert client.post({"inputs": ["QUFB"]}).status_code == 504
    go.set()
    answer = client.post({"inputs": ["QUFB"]})
    assert answer.status_code == 200
    assert answer.json()["predictions"] == [{"label": "x"}]
    assert running == [2, -2, 1, -1]


def test_who_is_slow_to_send_gives_the_turn_away(client: Any, video: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_GRACE_SEC", 0.1)
    whole = json.dumps({"inputs": [video]}).encode()
    answer = client.ask("/invocations", [whole[:9], 3000.0, whole[9:]])
    assert answer.status_code == 408
    assert "too slowly" in answer.json()["message"]
    assert client.ask("/invocations", [whole]).status_code == 200
