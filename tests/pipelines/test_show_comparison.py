"""Runs side by side on a terminal."""

from __future__ import annotations

import dataclasses

import pytest

from kineflow.comparison.comparison import compare
from kineflow.comparison.records import Judged, RunRecord
from pipelines.show_comparison import show_list


def run(number: int, figures: dict[str, float] | None = None, *, clips: str = "a", made_by: str = "") -> RunRecord:
    identity = f"{number}23456789abc"
    judged = Judged(clips * 64, "ten clips", "test", figures, "id", "files", made_by or identity) if figures else None
    return RunRecord(identity, "d3d-0123", "d3d", "2026-01-02 03:04", "FINISHED", "0" * 32, "", judged=judged)


@pytest.fixture(autouse=True)
def _columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


def printed(capsys: pytest.CaptureFixture[str], *records: RunRecord) -> list[str]:
    show_list(compare(records, closely=False))
    return [line for line in capsys.readouterr().out.splitlines() if line]


def test_a_table_fits_a_terminal_and_shows_the_accuracy_of_each_model(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    figures = {f"{model}/{name}": 0.5 for model in ("plain", "student") for name in ("top1", "top5", "mean_class")}
    heading, names, first, *_ = printed(capsys, run(1, {**figures, "fusion/plain and student/top1": 0.6}))
    assert heading == "test aaaaaaaaaaaa, ten clips:"
    assert names.split() == ["run", "started", "plain", "student"]
    assert first.split() == ["123456789abc", "2026-01-02", "03:04", "50.0%", "50.0%"]


def test_what_is_the_same_of_all_runs_takes_no_room(capsys: pytest.CaptureFixture[str]) -> None:
    failed = dataclasses.replace(run(2), status="FAILED", recipe="tsn")
    _, names, *rows = printed(capsys, run(1), failed)[:4]
    assert names.split() == ["run", "started", "status", "recipe"]
    assert [row.split()[-2:] for row in rows] == [["finished", "d3d"], ["failed", "tsn"]]


def test_figures_of_other_clips_are_in_another_table(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, run(1, {"student/top1": 0.9}), run(2), run(3, {"student/top1": 0.6}, clips="b"))
    assert [line for line in lines if line.endswith(":")] == [
        "test aaaaaaaaaaaa, ten clips:", "not judged:", "test bbbbbbbbbbbb, ten clips:"
    ]  # fmt: skip


def test_what_a_trivial_baseline_reaches_and_who_judged_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    trivial = {"baselines/class prior/top1": 0.25, "baselines/motion energy/top1": 0.625}
    figures = {"student/top1": 0.5}
    _, names, first, second, *_ = printed(capsys, run(1, figures | trivial, made_by="other"), run(2, figures))
    assert names.split()[-6:] == ["student", "best", "trivial", "judged", "by", "run"]
    assert first.split()[-3:] == ["50.0%", "62.5%", "other"]
    assert second.split()[-1] == "50.0%"


def test_without_runs_it_says_how_to_make_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert "kineflow run d3d" in printed(capsys)[0]
