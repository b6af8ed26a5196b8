"""Tables for a terminal."""

from pathlib import Path

import pytest
from rich.console import Console

from pipelines.engines.outcome import Outcome
from pipelines.show import results_table, show_outcome, show_runs


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


def test_runs_show_what_a_trivial_baseline_reaches(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"id": "0123456789ab", "started": "2026-01-02 03:04", "status": "FINISHED", "student/top1": 0.5}
    show_runs([{**row, "baselines/class prior/top1": 0.25, "baselines/motion energy/top1": 0.625}, row])
    header, first, second, _ = capsys.readouterr().out.splitlines()
    assert header.split()[-3:] == ["student", "best", "trivial"]
    assert first.split()[-2:] == ["50.0%", "62.5%"]
    assert second.split()[-1] == "50.0%"


def printed(metrics, capsys):
    Console(width=120).print(results_table(metrics))
    return capsys.readouterr().out.splitlines()


def test_results_have_the_columns_that_fit_their_classes(capsys: pytest.CaptureFixture[str]) -> None:
    model = {"top1": 0.5, "top1_low": 0.25, "top1_high": 0.75, "top5": 1.0, "mean_class_accuracy": 0.5, "auc": 0.625}
    prior = {name: value for name, value in model.items() if name != "auc"}
    metrics = {"student": model, "fusion": {}, "baselines": {"class prior": prior}}
    two = printed({**metrics, "data": {"split": "test", "clips": 8, "classes": 2}}, capsys)
    assert two[1].split() == ["model", "top-1", "95", "%", "interval", "AUC", "mean", "class"]
    assert two[2].split() == ["student", "50.0%", "25.0%", "–", "75.0%", "0.625", "50.0%"]
    assert two[3].split() == ["class", "prior", "(trivial)", "50.0%", "25.0%", "–", "75.0%", "–", "50.0%"]
    many = printed({**metrics, "data": {"split": "test", "clips": 8, "classes": 6}}, capsys)
    assert many[1].split() == ["model", "top-1", "95", "%", "interval", "top-5", "mean", "class"]
    old = printed({**metrics, "data": {"split": "test", "clips": 8}}, capsys)  # of a version before
    assert old[1:] == many[1:]


def test_without_runs_it_says_how_to_make_one(capsys: pytest.CaptureFixture[str]) -> None:
    show_runs([])
    assert "kineflow run d3d" in capsys.readouterr().out


def test_every_page_of_a_run_is_named_the_report_first(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pages = {task: {"report": tmp_path / f"{task}.html"} for task in ("localise", "validate", "evaluate")}
    show_outcome(Outcome(("ingest",), {"ingest": {"clips": tmp_path}, **pages}))
    output = capsys.readouterr().out
    assert "1 task run: ingest" in output
    shown = [line.split() for line in output.splitlines() if line.endswith(".html")]
    assert [line[0] for line in shown] == ["report", "data", "localise"]
    assert shown[2][-1].endswith("localise.html")
    show_outcome(Outcome((), {}))
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize(("stands", "ends"), [("project/below", "promote x"), (".", "promote x --project project")])
def test_what_is_to_be_typed_next_works_from_where_the_user_stands(
    stands: str, ends: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    for folder in (".dvc", "below"):
        (project / folder).mkdir(parents=True)
    registration = project / "registration.json"
    registration.write_text('{"name": "x", "version": "1"}')
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("KINEFLOW_PROJECT", str(project))
    monkeypatch.chdir(tmp_path / stands)
    show_outcome(Outcome((), {"register": {"registration": registration}}))
    output = capsys.readouterr().out
    assert f"sqlite:///{project}/mlflow.db" in output
    assert output.rstrip().endswith(ends)
