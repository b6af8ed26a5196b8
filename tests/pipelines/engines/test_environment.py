"""How a run's record is closed."""

import signal
from contextlib import nullcontext

import pytest

from kineflow.storage.errors import KineflowError
from kineflow.storage.stopping import signals_stop
from pipelines.engines import environment
from pipelines.engines.environment import pipeline_run


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), "KILLED"), (KineflowError("bad data"), "FAILED"), (None, "FINISHED")]
)
def test_a_run_is_closed_as_it_ended(monkeypatch: pytest.MonkeyPatch, error: BaseException | None, status: str) -> None:
    closed = []
    monkeypatch.setattr(environment, "_close", lambda _, ended: closed.append(ended))
    with pytest.raises(type(error)) if error else nullcontext(), pipeline_run("d3d", "none"):
        if error:
            raise error
    assert closed == [status]


def test_a_store_that_is_gone_does_not_hide_why_the_run_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise KineflowError("the store is gone")

    monkeypatch.setattr(environment, "_close", gone)
    with pytest.raises(KineflowError, match="bad data"), pipeline_run("d3d", "none"):
        raise KineflowError("bad data")


def test_ctrl_c_as_a_run_is_closed_leaves_it_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    def close(_: str, status: str) -> None:
        signal.raise_signal(signal.SIGTERM)
        closed.append(status)

    monkeypatch.setattr(environment, "_close", close)
    with pytest.raises(KeyboardInterrupt), signals_stop(), pipeline_run("d3d", "none"):
        pass
    assert closed == ["FINISHED"]
