"""What takes one class a clip says so before a run, where the lists give clips several."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from kineflow.storage.errors import KineflowError
from pipelines.preflight import check_run
from tests.pipelines.conftest import TINY_PARAMS
from tests.pipelines.test_alstm_run import MODELS, PARAMS

INGESTION = {"source": "data", "layout": "hollywood2", "short_side": 32, "val_share": 0.5}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KINEFLOW_PROJECT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for folder in ("ClipSets", "AVIClips"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for split, count in (("train", 4), ("test", 1)):
        names = [f"actionclip{split}{number}" for number in range(count)]
        for name in names:
            (tmp_path / "data" / "AVIClips" / f"{name}.avi").touch()
        for label in ("Eat", "Run"):
            lines = (f"{name} 1\n" for name in names)
            (tmp_path / "data" / "ClipSets" / f"{label}_{split}.txt").write_text("".join(lines))
    return tmp_path


def check(project: Path, recipe: str, values: dict[str, Any]) -> Any:
    (project / "params.yaml").write_text(yaml.safe_dump({**values, "ingestion": INGESTION}))
    return check_run(recipe, project / "params.yaml", project)


def several(values: dict[str, Any]) -> dict[str, Any]:
    values = copy.deepcopy(values)
    for name in MODELS:
        values[name]["network"]["multi_label"] = True
    return values


def test_alstm_may_learn_several_classes(project: Path) -> None:
    assert check(project, "alstm", several(PARAMS)).values["attention"]["network"]["multi_label"] is True


def test_every_training_that_does_not_is_named(project: Path) -> None:
    with pytest.raises(KineflowError, match="takes one class a clip") as raised:
        check(project, "alstm", PARAMS)
    assert all(f"{name} without network.multi_label" in raised.value.problem for name in MODELS)


@pytest.mark.parametrize("key", ["teacher", "student"])
def test_other_recipes_cannot(key: str, project: Path) -> None:
    with pytest.raises(KineflowError, match=f"{key} of d3d takes one class a clip"):
        check(project, "d3d", TINY_PARAMS)


def test_no_gate_asks_for_the_mean_over_classes(project: Path) -> None:
    values = several(PARAMS)
    values["registration"]["primary_metric"] = "mean_class_accuracy"
    with pytest.raises(KineflowError, match="clips of several classes have no mean_class_accuracy"):
        check(project, "alstm", values)


def test_views_cannot_vote(project: Path) -> None:
    values = several(PARAMS)
    values["evaluation"]["view_aggregation"] = "majority"
    with pytest.raises(KineflowError, match="view_aggregation: majority takes one class a clip"):
        check(project, "alstm", values)
