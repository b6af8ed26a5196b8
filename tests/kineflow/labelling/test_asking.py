"""What is asked after a run: of unlabelled clips by what the run's models see, and of labels that look wrong."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from components.describe import describe
from components.frontend.run import execute
from components.pretrain_descriptor import pretrain_descriptor
from components.select_model import select_model
from kineflow.data.layouts.rows import ListedClip
from kineflow.evaluation.scores import Scores
from kineflow.flow.settings import FlowSettings
from kineflow.labelling.asking import Asked, ask, some_of
from kineflow.labelling.looking import AskSettings, RunFiles, temperature_of
from kineflow.models.bundle import load_bundle, save_bundle
from kineflow.selection.settings import DescribeSettings
from kineflow.sets.clip_set import ClipSet
from kineflow.spec.split import Split

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / ".dvc").mkdir()
    return folder


@pytest.fixture(scope="module")
def selected(tiny_data, project) -> RunFiles:
    """A run of few_clips on six labelled clips, which describes no other."""
    outputs = project / "outputs"
    execute(pretrain_descriptor, {"params": {"frames": 4, "crop": 16}, "descriptor": outputs / "descriptor"})
    given = {"clips": tiny_data.clips, "flow": tiny_data.flow, "descriptor": outputs / "descriptor"}
    execute(describe, {**given, "params": {}, "descriptions": outputs / "descriptions"})
    made = {"model": outputs / "model", "evaluation": outputs / "evaluation", "report": outputs / "report.html"}
    params = {"folds": 3, "strengths": [1.0], "examples": 1}
    execute(select_model, {**given, "descriptions": outputs / "descriptions", "params": params, "seed": 0, **made})
    scores = {file.stem: file for file in (outputs / "evaluation" / "scores").glob("*.parquet")}
    return RunFiles(tiny_data.clips, tiny_data.flow, outputs / "model", scores, descriptor=outputs / "descriptor")


def listed(run: RunFiles) -> list[ListedClip]:
    """The list that the clips are from."""
    return [
        ListedClip(f"{clip.clip_id}.mp4", clip.label, clip.split, clip.group, "clips.csv:2")
        for clip in ClipSet.load(run.clips).clips
    ]


def asked(run: RunFiles, project: Path, rows: Sequence[ListedClip] = (), *, pool: int = 10) -> Asked:
    settings = AskSettings(
        clips=3,
        pool=pool,
        flow=FlowSettings.model_validate({}),
        description=DescribeSettings.model_validate({}),
    )
    clip_set = ClipSet.load(run.clips)
    work = project / "outputs" / "suggest"
    return ask(run, rows or listed(run), settings, work=work, local_clip=lambda clip: Path(str(clip_set.locate(clip))))


def test_unlabelled_clips_are_ranked_by_the_chosen_model_and_described_once(selected, project, caplog):
    found = asked(selected, project)
    questions = found.questions
    assert (found.unlabelled, found.seen, found.judged, found.labelled) == (4, 4, 6, 6)
    assert len(questions.suggested) == 3
    assert {question.clip_id.split("-")[0] for question in questions.suggested} == {"unlabelled"}
    assert questions.model == "blend"
    for question in questions.suggested:
        assert question.path == f"{question.clip_id}.mp4"
        assert question.video.is_file()
        assert sum(question.probabilities.values()) == pytest.approx(1)
        assert question.label == ""
    with caplog.at_level(logging.INFO, "kineflow"):
        assert asked(selected, project).questions == questions
    assert "descriptions: 10 clips were done before" in caplog.text


def test_a_clip_with_an_answer_by_now_or_without_a_row_is_not_asked_again(selected, project):
    rows = listed(selected)
    chosen = asked(selected, project).questions.suggested[0].clip_id
    answered = [
        dataclasses.replace(row, label="dark", split=Split.TRAIN) if row.source == f"{chosen}.mp4" else row
        for row in rows
    ]
    gone = [row for row in rows if row.source != f"{chosen}.mp4"]
    for now in (answered, gone):
        found = asked(selected, project, now)
        assert found.unlabelled == 3
        assert chosen not in {question.clip_id for question in found.questions.suggested}


def test_a_label_that_looks_wrong_is_asked_until_it_is_corrected(selected, project, tmp_path):
    scores = Scores.load(selected.scores["blend"])
    logits = np.where(np.eye(2)[scores.labels] == 1, 2.0, 0.0).astype(np.float32)
    logits[1] = logits[1][::-1] * 2
    dataclasses.replace(scores, logits=logits).save(tmp_path / "blend.parquet")
    run = dataclasses.replace(selected, scores={"blend": tmp_path / "blend.parquet"})
    (question,) = asked(run, project).questions.suspected
    assert question.clip_id == scores.clip_ids[1]
    label, instead = (scores.classes[name] for name in (scores.labels[1], 1 - scores.labels[1]))
    assert question.label == label
    assert question.why.startswith(f"labelled {label}, looks like {instead} (98%)")
    corrected = [
        dataclasses.replace(row, label=instead) if row.source == f"{question.clip_id}.mp4" else row
        for row in listed(run)
    ]
    assert asked(run, project, corrected).questions.suspected == ()


def test_a_network_and_its_teacher_are_heard_both(tiny_data, tiny_initial, project, tmp_path):
    bundles = {}
    for name, modality in (("student", "rgb"), ("teacher", "flow")):
        network, card = load_bundle(tiny_initial[modality])
        network.reset_classifier(2)
        window = dataclasses.replace(card.preprocessing, frames=4, short_side=16, crop=16)
        bundles[name] = tmp_path / name
        bundles[name].mkdir()
        save_bundle(
            bundles[name],
            network,
            dataclasses.replace(card, name=name, classes=("dark", "light"), preprocessing=window),
        )
    run = RunFiles(tiny_data.clips, tiny_data.flow, bundles["student"], {}, teacher=bundles["teacher"])
    found = asked(run, project, pool=2)
    assert (found.unlabelled, found.seen, found.judged) == (4, 2, 0)
    assert len(found.questions.suggested) == 2
    assert found.questions.model == "student"


def test_those_that_are_looked_at_stay_when_others_get_labels(tiny_data):
    clips = ClipSet.load(tiny_data.clips).usable()
    some = some_of(clips, 4)
    assert len(some) == 4
    assert some_of([clip for clip in clips if clip != some[0]], 3) == some[1:]


def test_the_temperature_makes_scores_as_sure_as_they_are_right():
    """Three of four are right, and it says .95: logits of 3 apart become those of ln 3."""
    logits = np.tile(np.array([[3.0, 0.0]], np.float32), (400, 1))
    labels = np.where(np.arange(400) % 4 == 0, 1, 0)
    scores = Scores("m", tuple(map(str, range(400))), labels, ("a", "b"), logits)
    assert temperature_of(scores) == pytest.approx(3 / np.log(3), rel=0.06)
