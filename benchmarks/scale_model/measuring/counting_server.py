"""An S3 server in this process (moto's) that counts what it is asked. Counts hold for S3; times would not."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

BUCKET = "counted"


@dataclass(frozen=True)
class Counting:
    """A server with one bucket.

    Attributes:
        endpoint_url: Of the server.
        seen: Requests by method; clear it before what is to be counted.
        environment: With which clients of this machine reach it; set in this process too while the server lives.
    """

    endpoint_url: str
    seen: Counter[str]
    environment: dict[str, str]


@contextmanager
def counting_server() -> Iterator[Counting]:
    """A fresh, empty server."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Silent(WSGIRequestHandler):
        def log(self, type: str, message: str, *args: Any) -> None:
            pass

    seen: Counter[str] = Counter()
    inner = DomainDispatcherApplication(create_backend_app)

    def counting(environ: dict[str, Any], start_response: Any) -> Any:
        seen[environ["REQUEST_METHOD"]] += 1
        return inner(environ, start_response)

    server = make_server("127.0.0.1", 0, counting, threaded=True, request_handler=Silent)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.port}"
    environment = {
        "AWS_ACCESS_KEY_ID": "counting", "AWS_SECRET_ACCESS_KEY": "counting", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": address, "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        from kineflow.storage.client import s3_client

        s3_client().create_bucket(Bucket=BUCKET)
        yield Counting(address, seen, environment)
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        server.shutdown()
        thread.join()
