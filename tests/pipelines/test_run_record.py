import json
from pathlib import Path

from pipelines.engines.outcome import Outcome
from pipelines.run_record import record_of

FIGURES = {"top1": 0.75, "top1_low": 0.5, "top1_high": 0.9, "auc": 0.8}


def outcome(folder: Path) -> Outcome:
    evaluation = folder / "evaluation"
    evaluation.mkdir()
    metrics = {"data": {"split": "test", "clips": 8, "classes": 2}, "a|b": FIGURES, "fusion": {}, "baselines": {}}
    (evaluation / "metrics.json").write_text(json.dumps(metrics))
    registration = folder / "registration.json"
    registration.write_text(json.dumps({"name": "fights", "version": "3"}))
    outputs = {"evaluate": {"evaluation": evaluation}, "register": {"registration": registration}}
    return Outcome(("evaluate", "register"), outputs)


def test_a_record_tells_what_ran_with_what_and_what_came_out(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("seed: 1 # mine\n")
    (tmp_path / "dvc.lock").write_text("stages: {}\n")
    record = record_of("tsn", params, {"seed": 1}, tmp_path, outcome(tmp_path))
    assert record.texts["params.yaml"] == "seed: 1 # mine\n"
    assert record.texts["dvc.lock.txt"] == "stages: {}\n"
    assert not {"dvc.yaml", "dvc.lock"} & record.texts.keys()  # DVC would read them, wherever below a project
    assert "pytest==" in record.texts["packages.txt"]
    assert len(record.tags["env.packages.sha256"]) == 64
    assert "| a/b | 75.0% | 50.0% – 90.0% | 0.800 | – |" in record.description.splitlines()
    assert "**fights**: version 3" in record.description


def test_a_run_that_failed_has_a_record_too(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").touch()
    record = record_of("tsn", tmp_path / "params.yaml", {"seed": 1}, tmp_path, None)
    assert record.params == {"seed": 1}
    assert "did not come to its end" in record.description
