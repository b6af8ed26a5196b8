"""``kineflow suggest``: which files of a run it reads, and what it says before it works."""

from __future__ import annotations

from pathlib import Path

import pytest

from kineflow.labelling.asking import Asked
from kineflow.labelling.looking import RunFiles
from kineflow.labelling.questions import Questions
from kineflow.models.bundle import save_bundle
from kineflow.models.card import ModelCard
from kineflow.models.registry import create_model
from kineflow.spec.preprocessing import Preprocessing
from kineflow.storage.errors import KineflowError
from pipelines.dag.graph import Graph, graph_of, whole_graph
from pipelines.engines.workspace import Workspace
from pipelines.suggest import Suggested, run_files, told

pytestmark = pytest.mark.slow


def files(recipe: str, project: Path, *made: str, graph: Graph | None = None) -> RunFiles:
    for output in made:
        (project / "outputs" / output).mkdir(parents=True, exist_ok=True)
    (project / "params.yaml").touch()
    return run_files(graph or graph_of(recipe), Workspace.of(recipe, project / "params.yaml", project))


def test_of_few_clips_it_reads_the_blend_and_what_describes_clips(tmp_path: Path) -> None:
    run = files("few_clips", tmp_path, "ingest/clips", "select-model/model", "select-model/evaluation/scores")
    outputs = tmp_path / "outputs"
    assert run.model == outputs / "select-model" / "model"
    assert run.descriptor == outputs / "pretrain-descriptor" / "descriptor"
    assert (run.flow, run.teacher) == (outputs / "extract-flow" / "flow", None)


def test_of_d3d_it_reads_the_model_that_was_chosen_and_the_students_teacher(tmp_path: Path) -> None:
    run = files("d3d", tmp_path, "ingest/clips", "choose-model/model", "evaluate/evaluation/scores")
    outputs = tmp_path / "outputs"
    assert (run.model, run.teacher) == (outputs / "choose-model" / "model", outputs / "teacher" / "model")
    assert run.descriptor is None


@pytest.mark.parametrize(("chosen", "read"), [("blend", "descriptor"), ("student", "teacher")])
def test_of_d3d_with_a_blend_it_reads_what_the_chosen_model_came_from(tmp_path: Path, chosen: str, read: str) -> None:
    sees = Preprocessing("rgb", 8, 1, 64, 64, (128.0,) * 3, (64.0,) * 3)
    network = create_model("s3d", num_classes=2, width=0.0625)
    model = tmp_path / "outputs" / "choose-model" / "model"
    save_bundle(model, network, ModelCard(chosen, "s3d", {"width": 0.0625}, ("a", "b"), sees))
    run = files("d3d", tmp_path, "ingest/clips", "evaluate/evaluation/scores", graph=whole_graph("d3d"))
    assert (run.descriptor is not None, run.teacher is not None) == (read == "descriptor", read == "teacher")


def test_without_a_run_it_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match="has not been run") as fault:
        files("few_clips", tmp_path, "ingest/clips")
    assert "kineflow run few_clips" in fault.value.remedy


def test_it_says_what_could_not_be_judged_and_what_is_not_listed(tmp_path: Path) -> None:
    questions = Questions(("a", "b"), (), (), "blend", "0")
    said = "\n".join(told(Suggested(None, Asked(questions, 50, 20, 30, 100), 7), "few_clips"))
    assert "0 of 50 clips without a label are suggested, of 20 that were looked at" in said
    assert "the other 70 labelled clips were not judged" in said
    assert "7 videos of the source are not in the list" in said
    assert "nothing to ask" in said
