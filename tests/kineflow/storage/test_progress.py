import logging
import sys

import pytest

from kineflow.storage import progress
from kineflow.storage.progress import track


def test_yields_every_item_and_says_so_once_at_the_end(caplog):
    with caplog.at_level(logging.INFO, logger="kineflow.storage.progress"):
        assert list(track(range(3), total=3, what="flow")) == [0, 1, 2]
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("flow: 3/3, ")
    assert caplog.messages[0].endswith("0 s left")


def test_says_a_line_every_few_seconds(caplog, monkeypatch):
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO, logger="kineflow.storage.progress"):
        list(track(range(4), total=10, what="flow", unit="pair"))
    assert [line.split(",")[0] for line in caplog.messages] == ["flow: 2/10", "flow: 4/10"]
    assert "pairs/s" in caplog.messages[0]


def test_draws_a_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(track("ab", total=2, what="flow")) == ["a", "b"]
    assert "2/2" in capsys.readouterr().err


def test_is_lazy_and_lets_an_interruption_through():
    def items():
        yield 1
        raise KeyboardInterrupt

    tracked = track(items(), total=5, what="flow")
    assert next(tracked) == 1
    with pytest.raises(KeyboardInterrupt):
        next(tracked)


def test_items_may_count_for_several_units(caplog, monkeypatch, capsys):
    with caplog.at_level(logging.INFO, logger="kineflow.storage.progress"):
        assert list(track(["ab", "c"], total=3, what="flow", unit="pair", size=len)) == ["ab", "c"]
    assert caplog.messages[0].startswith("flow: 3/3, ")
    assert "pairs/s" in caplog.messages[0]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    list(track(["ab", "c"], total=3, what="flow", size=len))
    assert "3/3" in capsys.readouterr().err
