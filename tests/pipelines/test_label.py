"""``kineflow label`` in a project: the list is found, and a run after it does what is new and nothing else."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from kineflow.storage.errors import KineflowError
from pipelines.cli import app
from pipelines.label import find_list
from tests.pipelines.conftest import TINY_SYNTH


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, in which the commands run."""
    monkeypatch.setenv("KINEFLOW_PROJECT", "")
    folder = tmp_path / "project"
    (folder / ".dvc").mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def ingestion(project: Path, name: str = "params.yaml", **settings: object) -> Path:
    path = project / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump({"seed": 1, "ingestion": settings}))
    return path


def put(path: Path, text: str = "path,label,split\na.mp4,fight,train\nb.mp4,,unlabelled\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def kineflow(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == code, done.output
    return done.output


def test_the_list_is_the_one_that_the_parameters_name(project: Path) -> None:
    own, in_data = put(project / "clips.csv"), put(project / "data" / "lists" / "clips.csv")
    ingestion(project, source="data")
    other = ingestion(project, "params/tsn.yaml", source="data", annotations="clips.csv")
    assert find_list(project, params=None, named=None).path == in_data
    assert find_list(project, params=other, named=None).path == own
    assert find_list(project, params=None, named=Path("x.csv")).path == Path("x.csv")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"source": "data", "layout": "folder"}, "layout 'folder' has no list"),
        ({"source": "s3://videos/all"}, "lies at s3://videos/all"),
        ({"source": "data"}, "'clips.csv' is missing"),
        ({"sauce": "data"}, "unknown key"),
    ],
)
def test_where_there_is_no_csv_list_it_says_what_to_do(project: Path, settings: dict[str, str], problem: str) -> None:
    (project / "data").mkdir()
    with pytest.raises(KineflowError, match=problem) as fault:
        find_list(project, params=ingestion(project, **settings), named=None)
    assert fault.value.remedy


def test_it_says_what_was_done_and_what_comes_next(project: Path) -> None:
    listed = put(project / "data" / "clips.csv")
    ingestion(project, source="data")
    answers = put(project / "answers.csv", "path,label\na.mp4,normal\nb.mp4,fight\n")
    (project / "data.dvc").touch()
    before = listed.read_bytes()
    assert "--new-class normal" in kineflow("label", "answers.csv", code=2)
    assert "nothing is written" in kineflow("label", "answers.csv", "--new-class", "normal", "--dry-run")
    assert listed.read_bytes() == before
    said = kineflow("label", str(answers), "--new-class", "normal")
    assert "1 labelled, 1 corrected, 0 skipped" in said
    assert "dvc add data\nthen: kineflow run RECIPE" in said
    assert "2 as they were" in kineflow("label", "answers.csv")


@pytest.mark.slow
def test_what_was_made_of_old_clips_stays_as_it_is(project: Path) -> None:
    """The steps of ``few_clips`` up to the descriptions: the newly labelled clip is all that costs anything."""
    from components.describe import describe
    from components.extract_flow import extract_flow
    from components.frontend.run import execute
    from components.ingest import ingest
    from components.pretrain_descriptor import pretrain_descriptor
    from kineflow.sets.clip_set import ClipSet
    from kineflow.synth.dataset import make_dataset
    from kineflow.synth.spec import SynthSpec

    spec = TINY_SYNTH | {"takes": 1, "groups": {"train": 1, "val": 1, "test": 1, "unlabelled": 1}}
    make_dataset(project / "data", SynthSpec(**spec), seed=3, workers=1)
    ingestion(project, source="data")
    outputs = project / "outputs"
    splits = {"preset": "fast", "splits": ["train", "val", "test"], "workers": 1, "device": "cpu"}
    execute(pretrain_descriptor, {"params": {"frames": 8, "crop": 16}, "descriptor": outputs / "descriptor"})

    def run() -> dict[str, int]:
        """Media by name, with what tells one file from another that was written in its place."""
        sets = {name: outputs / name for name in ("clips", "flow")}
        execute(ingest, {"params": {"source": "data", "short_side": 32}, "seed": 1, "clips": sets["clips"]})
        execute(extract_flow, {"clips": sets["clips"], "params": splits, "flow": sets["flow"]})
        given = {**sets, "descriptor": outputs / "descriptor"}
        execute(describe, {**given, "params": {}, "descriptions": outputs / "descriptions"})
        kinds = [project / "media" / name for name in ("clips", "flow", "features")]
        media = [path for kind in kinds for path in kind.rglob("*") if path.is_file()]
        return {str(path.relative_to(project)): path.stat().st_ino for path in media}

    before = run()
    unlabelled = [clip for clip in ClipSet.load(outputs / "clips").clips if clip.label is None]
    with (project / "answers.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "label"), (unlabelled[0].source, "translate_left")])
    kineflow("label", "answers.csv")
    after = run()
    assert before.items() <= after.items()
    new = [Path(name).parts[1] for name in after.keys() - before.keys()]
    assert sorted(new) == ["features", "flow"]
