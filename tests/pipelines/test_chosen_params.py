"""What a parameter file says of a set of videos."""

from __future__ import annotations

from pathlib import Path

from kineflow.spec.split import Split
from pipelines.chosen_params import Setting, merged_into, whole_splits
from pipelines.dag.graph import graph_of
from pipelines.dag.params import load_params
from pipelines.project import recipe_params


def test_a_project_may_be_called_by_a_number(tmp_path: Path) -> None:
    text = merged_into(recipe_params("tsn"), [Setting("ingestion", "source", "/videos")], "of videos", "2024")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    assert load_params(graph_of("tsn"), tmp_path / "params.yaml")["registration"]["name"] == "2024"


def test_no_class_is_asked_of_a_split_that_has_none_of_it() -> None:
    clips = [(Split.TRAIN, "a"), (Split.TRAIN, "b"), (Split.VAL, "a"), (Split.TEST, "a"), (Split.TEST, "b")]
    assert whole_splits([*clips, (Split.UNLABELLED, None)]) == [Split.TRAIN, Split.TEST]
    assert whole_splits([(Split.TRAIN, "a"), (Split.TEST, "b")]) == [Split.TRAIN]
