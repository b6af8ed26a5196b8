"""From what a user writes to devices that are there."""

from __future__ import annotations

import pytest

from kineflow.flow.extraction.devices import find_devices
from kineflow.storage.errors import KineflowError


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    count = request.param
    monkeypatch.setattr("torch.cuda.is_available", lambda: count > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)


@pytest.mark.parametrize(
    ("gpus", "named", "found"),
    [
        (0, "auto", ("cpu",)),
        (0, "cpu", ("cpu",)),
        (1, "auto", ("cuda:0",)),
        (3, "auto", ("cuda:0", "cuda:1", "cuda:2")),
        (3, "cuda", ("cuda:0",)),
        (3, "cuda:2", ("cuda:2",)),
        (3, "cuda:2,cuda:0", ("cuda:2", "cuda:0")),
        (3, "cpu", ("cpu",)),
    ],
    indirect=["gpus"],
)
def test_what_is_found(gpus: None, named: str, found: tuple[str, ...]) -> None:
    assert find_devices(named) == found


@pytest.mark.parametrize(
    ("gpus", "named", "message"),
    [
        (0, "cuda", "no device 'cuda:0', only cpu"),
        (2, "cuda:2", "no device 'cuda:2', only cpu, cuda:0, cuda:1"),
        (2, "cuda:0,cuda:9", "cuda:9"),
        (2, "cuda:1,cuda:1", "twice"),
    ],
    indirect=["gpus"],
)
def test_what_is_refused(gpus: None, named: str, message: str) -> None:
    with pytest.raises(KineflowError, match=message):
        find_devices(named)
