"""Tables for a terminal."""

import pytest

from pipelines.show import show_runs


def test_runs_fit_a_terminal_and_show_the_accuracy_of_each_model(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    row = {
        "run": "d3d-0123",
        "id": "0123456789ab",
        "started": "2026-01-02 03:04",
        "status": "FINISHED",
        "data": "0" * 32,
    }
    figures = {f"{model}/{name}": 0.5 for model in ("plain", "student") for name in ("top1", "top5", "mean_class")}
    show_runs([{**row, **figures, "fusion/plain and student/top1": 0.6}, row])
    header, first, second, note = capsys.readouterr().out.splitlines()
    assert header.split() == ["run", "started", "status", "plain", "student"]
    assert first.split() == ["0123456789ab", "2026-01-02", "03:04", "finished", "50.0%", "50.0%"]
    assert second.split() == ["0123456789ab", "2026-01-02", "03:04", "finished"]
    assert "top-1" in note


def test_without_runs_it_says_how_to_make_one(capsys: pytest.CaptureFixture[str]) -> None:
    show_runs([])
    assert "kineflow run d3d" in capsys.readouterr().out
