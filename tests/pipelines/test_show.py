"""Tables for a terminal."""

from pathlib import Path

import pytest
from rich.console import Console

from pipelines.engines.outcome import Outcome
from pipelines.show import results_table, show_outcome


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
