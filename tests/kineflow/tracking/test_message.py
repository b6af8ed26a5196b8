"""A webhook that cannot be used: one line in the log, without its address, which is a secret."""

from __future__ import annotations

import http.client
import urllib.request
from typing import Any

import pytest

from kineflow.tracking.message import WEBHOOK, tell


@pytest.mark.parametrize(
    "address", ["http://[secret/x", "http://127.0.0.1:secret/", "http://127.0.0.1/a secret", "secret"]
)
def test_a_bad_address_is_neither_raised_nor_told(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(WEBHOOK, address)
    assert tell("done") is False
    assert "no message was sent" in caplog.text
    assert "secret" not in caplog.text


def test_an_answer_that_is_no_http_is_not_raised(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(*_: Any, **__: Any) -> None:
        raise http.client.BadStatusLine("secret")

    monkeypatch.setenv(WEBHOOK, "http://127.0.0.1:9/secret")
    monkeypatch.setattr(urllib.request, "urlopen", answer)
    assert tell("done") is False
    assert "BadStatusLine" in caplog.text
    assert "secret" not in caplog.text
