"""A step is judged by what it has written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.engines.checked_tasks import executor_input, missing_outputs


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    """What KFP tells a step with a folder and figures to write, all of which is written."""
    artifacts = {
        "model": {"artifacts": [{"uri": str(tmp_path / "model"), "type": {"schemaTitle": "system.Model"}}]},
        "metrics": {"artifacts": [{"uri": str(tmp_path / "metrics"), "type": {"schemaTitle": "system.Metrics"}}]},
    }
    (tmp_path / "model").mkdir()
    (tmp_path / "executor_output.json").write_text(json.dumps({"artifacts": artifacts, "parameterValues": {"n": 1}}))
    return {
        "outputs": {
            "outputFile": str(tmp_path / "executor_output.json"),
            "artifacts": artifacts,
            "parameters": {"n": {"outputFile": str(tmp_path / "n")}},
        }
    }


def test_figures_need_no_file(given: dict[str, Any]) -> None:
    assert missing_outputs(given) == []


@pytest.mark.parametrize("text", [None, "", '{"artifacts": {"mod', "\udcff"], ids=["none", "empty", "cut", "no text"])
def test_without_a_whole_executor_output_all_is_missing(given: dict[str, Any], text: str | None) -> None:
    file = Path(given["outputs"]["outputFile"])
    if text is None:
        file.unlink()
    else:
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert missing_outputs(given) == ["executor_output.json"]


def test_a_named_output_must_be_there(given: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "model").rmdir()
    assert missing_outputs(given) == ["model"]


def test_an_output_must_be_named(given: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "executor_output.json").write_text(json.dumps({"artifacts": {}}))
    assert missing_outputs(given) == ["metrics", "model", "n"]


def test_a_value_may_lie_in_its_own_file(given: dict[str, Any], tmp_path: Path) -> None:
    written = json.loads((tmp_path / "executor_output.json").read_text())
    (tmp_path / "executor_output.json").write_text(json.dumps({"artifacts": written["artifacts"]}))
    assert missing_outputs(given) == ["n"]
    (tmp_path / "n").write_text("1")
    assert missing_outputs(given) == []


def test_the_executors_input_is_read_from_a_command() -> None:
    command = [
        "sh",
        "-ec",
        "…",
        "def step(): …",
        "--executor_input",
        '{"outputs": {}}',
        "--function_to_execute",
        "step",
    ]
    assert executor_input(command) == {"outputs": {}}
