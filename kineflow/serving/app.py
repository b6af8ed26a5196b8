"""The server of ``kineflow serve``: MLflow's scoring protocol, within bounds, and no request repeated in an answer.

MLflow's own server holds a body several times over and sends it back with every refusal. Here a body is counted as it
comes, requests are worked on one after the other, so that memory and processors are those of one of them, and what is
refused is said in a short line. ``uvicorn`` starts it by :func:`application`.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kineflow.serving.requests import Request as Asked
from kineflow.serving.requests import bounded_message, read_request
from kineflow.storage.errors import KineflowError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

MODEL_FOLDER, TIMEOUT_SEC = "KINEFLOW_SERVED_MODEL", "KINEFLOW_SERVED_TIMEOUT_SEC"
"""Environment variables: a model that was written here, and the most seconds that a request may take."""

_JSON = "application/json"
_BESIDE_VIDEO_BYTES = 2**20  # of a body: what is no video
_GRACE_SEC, _LEAST_BYTES_A_SEC = 5.0, 2**18  # of a client that sends its body while the others wait
_LARGE, _TYPE, _BAD, _SLOW, _LATE, _FAILED = 413, 415, 400, 408, 504, 500


def application() -> Starlette:
    """The server of the model that the environment names.

    Raises:
        KineflowError: It names none.
    """
    import mlflow
    from mlflow.pyfunc import load_model

    folder = os.environ.get(MODEL_FOLDER, "")
    if not folder:
        raise KineflowError("no model to serve", where=MODEL_FOLDER, remedy="start the server by: kineflow serve")
    classifier: Any = load_model(str(Path(folder)))
    classifier = classifier.unwrap_python_model()
    return served(classifier, timeout_sec=int(os.environ.get(TIMEOUT_SEC, "60")), version=mlflow.__version__)


def served(classifier: Any, *, timeout_sec: float, version: str = "") -> Starlette:
    """An ASGI application that answers for a loaded :class:`kineflow.serving.served_model.VideoClassifier`.

    Args:
        classifier: Who answers.
        timeout_sec: Most seconds for a request, waiting for others included.
        version: Of MLflow, whose protocol this is.
    """
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    classifier.limits["max_seconds"] = max(1, int(timeout_sec))
    most_bytes = classifier.limits["max_video_bytes"] * 4 // 3 + _BESIDE_VIDEO_BYTES
    turn = asyncio.Lock()
    begun: set[asyncio.Future[Response]] = set()  # the loop itself would let them go

    async def healthy(_: Request) -> Response:
        return PlainTextResponse("\n")

    async def told(_: Request) -> Response:
        return PlainTextResponse(version)

    async def invocations(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
            return _refusal(_TYPE, f"the content type is not {_JSON}")
        at_work = asyncio.Event()
        task = asyncio.ensure_future(in_turn(request, at_work))
        begun.add(task)
        task.add_done_callback(begun.discard)
        try:
            return await asyncio.wait_for(asyncio.shield(task), timeout_sec)
        except TimeoutError:
            if not at_work.is_set():
                task.cancel()
            return _refusal(_LATE, f"the request took longer than {timeout_sec:g} s")

    async def in_turn(request: Request, at_work: asyncio.Event) -> Response:
        """Where its time runs out, no other begins before its thread has ended, which nothing can stop."""
        async with turn:
            try:
                body = await _body(request, most_bytes)
            except TimeoutError:
                return _refusal(_SLOW, "the body came too slowly, while others waited")
            if body is None:
                return _refusal(_LARGE, f"the body is larger than {most_bytes} bytes, which are read at most")
            at_work.set()
            return await asyncio.to_thread(_answer, classifier, body)

    return Starlette(
        routes=[
            Route("/invocations", invocations, methods=["POST"]),
            Route("/ping", healthy),
            Route("/health", healthy),
            Route("/version", told),
        ]
    )


async def _body(request: Request, most_bytes: int) -> bytearray | None:
    """The whole body; None for one that is too large, of which no more is read.

    Raises:
        TimeoutError: It comes too slowly.
    """
    if int(request.headers.get("content-length", "0") or 0) > most_bytes:
        return None
    body, begun = bytearray(), asyncio.get_running_loop().time()
    async with asyncio.timeout(_GRACE_SEC) as limit:
        async for part in request.stream():
            if len(body) + len(part) > most_bytes:
                return None
            body += part
            limit.reschedule(begun + _GRACE_SEC + len(body) / _LEAST_BYTES_A_SEC)
    return body


def _answer(classifier: Any, body: bytearray) -> Response:
    import pandas as pd
    from mlflow.exceptions import MlflowException
    from starlette.responses import Response

    try:
        asked = _read(body)
        answers = classifier.predict(None, pd.DataFrame({"video": asked.videos}, dtype=object), asked.params)
    except KineflowError as error:
        return _refusal(_BAD, error.problem)
    except MlflowException as error:
        return _refusal(_BAD, error.message)
    except Exception as error:  # whatever it says may hold a piece of the request
        return _refusal(_FAILED, f"the model failed ({type(error).__name__})")
    return Response(json.dumps({"predictions": answers.to_dict("records")}), media_type=_JSON)


def _read(body: bytearray) -> Asked:
    """A request; nothing of its body is held any more but what is taken from it."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise KineflowError("the body is not UTF-8") from None
    body.clear()
    return read_request(text)


def _refusal(status: int, message: str) -> Response:
    from starlette.responses import Response

    code = "BAD_REQUEST" if status < _FAILED else "INTERNAL_ERROR"
    return Response(
        json.dumps({"error_code": code, "message": bounded_message(message)}), status_code=status, media_type=_JSON
    )
