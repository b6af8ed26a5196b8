from pathlib import Path

import numpy as np
import pytest

from kineflow.evaluation.kept_examples import keep_examples
from kineflow.evaluation.report.page import Example
from kineflow.evaluation.results import Evaluated, Evaluation, write_evaluation
from kineflow.evaluation.scores import Scores
from kineflow.models.card import load_card
from kineflow.registry.measured import read_evaluation
from kineflow.registry.outcomes import outcomes_of
from kineflow.registry.page_of_version import PAGE_FILE, keep_page
from kineflow.registry.registration import register_student
from kineflow.spec.scoring_protocol import ScoringProtocol
from kineflow.storage.page_policy import data_uri
from kineflow.tracking.runs import StepRun, open_step_run
from kineflow.tracking.store import connect

pytestmark = pytest.mark.slow

WRONG, RIGHT, TOO_LARGE = b"of a wrong answer", b"of a right one", bytes(10**6)
NASTY = "<img src=x onerror=alert(1)>"


def evaluated(folder: Path, classes: tuple[str, ...]) -> Path:
    labels = np.arange(30, dtype=np.int64) % 3
    answers = np.where(np.arange(30) < 24, labels, (labels + 1) % 3)
    clips = tuple(f"clip{number}" for number in range(30))
    scores = Scores("student", clips, labels, classes, 3 * np.eye(3, dtype=np.float32)[answers], "test")
    folder.mkdir()
    evaluation = Evaluation((Evaluated(scores, "rgb", 10),), (), "student")
    pictures = {3: RIGHT, 25: WRONG, 4: TOO_LARGE}
    shown = [Example(number, "", (picture, b"a frame")) for number, picture in pictures.items()]
    keep_examples(folder, evaluation, shown)
    write_evaluation(folder, evaluation, version="a" * 64, protocol=ScoringProtocol("ten clips", {"windows": 10}))
    return folder


def test_a_version_has_a_page_and_a_description_that_leads_to_it(project: Path, bundle: Path) -> None:
    card, evaluation = load_card(bundle), evaluated(project / "evaluation", ("left", "right", "spin"))
    measured = read_evaluation(evaluation, "student")
    with open_step_run("register", params={}, experiment="d3d", pipeline_run_id="run-1") as run:
        made = register_student(
            bundle, name="moves", evaluation=measured, outcomes=outcomes_of(evaluation, "student"), run_id=run.run_id
        )
        keep_page(
            "moves", made.version, card=card, measured=measured, evaluation=evaluation, intended_use=NASTY, tracker=run
        )
    page = page_of(project, run)
    for shown in (
        "moves version 1",
        "80.0 %",
        "ten clips",
        "<td>spin</td>",
        made.weights_sha256,
        "flow-teacher",
        " ms",
    ):
        assert shown in page
    assert "data:image/svg+xml" in page
    assert NASTY not in page
    places = [page.index(data_uri(picture, "image/jpeg")) for picture in (WRONG, RIGHT)]
    assert places == sorted(places)
    assert len(page) < len(TOO_LARGE)
    described = connect().get_model_version("moves", made.version).description
    assert f"/runs/{run.run_id}/artifacts/{PAGE_FILE}?workflowType=machine_learning)" in described
    assert "top-1 80.0 % (" in described
    assert run.parent_id is not None
    assert (project / "mlartifacts" / "d3d" / run.parent_id / "artifacts" / "register" / PAGE_FILE).is_file()


def page_of(project: Path, run: StepRun) -> str:
    return (project / "mlartifacts" / "d3d" / run.run_id / "artifacts" / PAGE_FILE).read_text()
