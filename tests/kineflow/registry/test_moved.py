"""A project that is renamed, copied or taken elsewhere keeps its models, runs and history, and uses its own files."""

import errno
import logging
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kineflow.comparison.records import find_runs
from kineflow.models.bundle import weights_digest
from kineflow.registry.history import history
from kineflow.registry.named_model import named_bundle
from kineflow.registry.policy import Gate
from kineflow.registry.promotion import promote, rollback
from kineflow.registry.registration import register_student
from kineflow.serving.stored_files import fetch, files_of_run
from kineflow.storage.errors import KineflowError
from kineflow.tracking import store
from kineflow.tracking.evaluation_tags import EVALUATED
from kineflow.tracking.marks import Mark, marked
from kineflow.tracking.runs import open_step_run
from kineflow.tracking.store import connect, prepare_store, tracking_uri
from tests.kineflow.registry.test_aliases import SHOWN, answers

pytestmark = pytest.mark.slow

ELSEWHERE = "s3://bucket/mlartifacts/theirs"


@pytest.fixture(scope="module")
def bundles(make_bundle: Callable[[int], Path]) -> list[Path]:
    return [make_bundle(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def template(template_store: Path, bundles: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a judged run, a champion that was registered by it, a candidate, and files in a bucket."""
    root = tmp_path_factory.mktemp("made") / "swipes of 'May' 100%"
    root.mkdir()
    shutil.copyfile(template_store, root / "mlflow.db")
    (root / "report.html").write_text("as it was made")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(root)
        with open_step_run("evaluate", params={}, experiment="d3d", pipeline_run_id="p1") as run:
            run.set_tags({EVALUATED: SHOWN[0].clips_digest})
            run.log_artifact(root / "report.html")
            run.log_dataset("test", version="a" * 40, source=str(root / "clips"))
        for bundle, shown, run_id in zip(bundles[:2], SHOWN, (run.run_id, None), strict=False):
            register_student(bundle, name="demo", evaluation=shown, outcomes=answers(shown), gate=Gate(), run_id=run_id)
        assert promote("demo", "1", dry_run=False).applied
        connect().create_experiment("theirs", artifact_location=ELSEWHERE)
    return root


@pytest.fixture
def moved(template: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    how = getattr(request, "param", "copied")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    first, there = tmp_path / "first", tmp_path / "another place"
    if how == "taken to the folder above it":
        first = there / "first"
    shutil.copytree(template, first)
    monkeypatch.chdir(first)
    prepare_store()
    if how == "renamed":
        first.rename(there)
    elif how == "taken to the folder above it":
        for inside in list(first.iterdir()):
            inside.rename(there / inside.name)
    else:
        there = first / "copy" if how == "copied into itself" else there
        shutil.copytree(first, there)
        for file in (first / "mlartifacts").rglob("*"):  # whoever reads the first one's files is found out
            if file.is_file():
                file.write_bytes(b"of another project")
    monkeypatch.chdir(there)
    return there


@pytest.mark.parametrize(
    "moved", ["renamed", "copied", "copied into itself", "taken to the folder above it"], indirect=True
)
def test_it_keeps_all_that_it_had_and_uses_its_own_files(
    moved: Path, bundles: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    before = {file: file.read_bytes() for file in moved.parent.rglob("first/**/*") if file.is_file()}
    with named_bundle("models:/demo@champion") as folder:
        assert weights_digest(folder) == weights_digest(bundles[0])
    [said] = [record.message for record in caplog.records if "was in" in record.message]
    assert str(moved) in said
    assert len(said.splitlines()) == 1

    [run] = find_runs()
    assert run.judged is not None
    page = fetch(files_of_run(run.judged.run_id, run.judged.files, tracking_uri()), "report.html", moved, 100)
    assert page.read_text() == "as it was made"
    assert promote("demo", dry_run=False).applied
    assert rollback("demo").version == "1"
    assert promote("demo", "2", dry_run=False).applied
    assert [event.version for event in history("demo")] == ["2", "1", "2", "1"]
    client = connect()
    logged = client.get_logged_model(client.get_model_version("demo", "2").tags["model_id"])
    assert Path(logged.artifact_location).is_relative_to(moved)
    assert client.get_experiment_by_name("theirs").artifact_location == ELSEWHERE
    register_student(bundles[2], name="demo", evaluation=SHOWN[2], outcomes=answers(SHOWN[2]))
    client.delete_model_version("demo", "2")  # what is left of it is in the history
    assert promote("demo", "3").allowed

    after = {file: file.read_bytes() for file in before if moved not in file.parents}
    assert all(before[file] == now for file, now in after.items())
    assert "first/mlartifacts" not in _dump(moved)


@pytest.mark.parametrize("left", ["/nas/mlartifacts/fights", "/mlartifacts/fights", "/home/shared/mlartifacts/fights"])
def test_what_lies_elsewhere_stays_there(
    project: Path, template: Path, caplog: pytest.LogCaptureFixture, left: str
) -> None:
    """An experiment with a place of its own; a store at the root; a database that left without its files."""
    shutil.copyfile(template / "mlflow.db", project / "mlflow.db")
    prepare_store()  # of what it is a copy of, there is nothing left in it
    caplog.clear()
    with closing(sqlite3.connect(project / "mlflow.db")) as database, database:
        database.execute("UPDATE experiments SET artifact_location = ? WHERE name = 'd3d'", (left,))
        database.execute("UPDATE runs SET artifact_uri = ? || '/1/artifacts'", (left,))
        database.execute("UPDATE datasets SET dataset_source = ?", (f'{{"uri": "{Path(left).parents[1]}/clips"}}',))
    if left.startswith("/mlartifacts"):
        (project / "mlartifacts" / "fights").mkdir(parents=True)
    before = _dump(project)
    prepare_store()
    assert _dump(project) == before
    assert not caplog.records


def test_it_is_said_once(moved: Path, caplog: pytest.LogCaptureFixture) -> None:
    prepare_store()
    once = _dump(moved)
    prepare_store()
    assert _dump(moved) == once
    assert len(caplog.records) == 1


def test_one_that_cannot_be_written_says_so_and_is_left_as_it_is(
    moved: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(moved / "mlflow.db")) as database, database:
        database.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON logged_models BEGIN SELECT RAISE(FAIL, 'disk I/O error'); END"
        )
    before = _dump(moved)
    with caplog.at_level(logging.WARNING), pytest.raises(KineflowError, match=r"lay in .*first before.*disk I/O error"):
        prepare_store()
    assert _dump(moved) == before
    assert not caplog.records


def test_one_that_can_only_be_read_is_read(
    moved: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_lock(uri: str) -> Any:
        raise OSError(errno.EROFS, "Read-only file system")

    before = _dump(moved)
    monkeypatch.setattr(store, "store_lock", no_lock)
    assert [event.version for event in history("demo")] == ["1"]
    assert "cannot be written" in caplog.text
    with pytest.raises(KineflowError, match="Read-only file system"):
        prepare_store()
    assert _dump(moved) == before


def test_it_is_corrected_when_the_run_that_is_under_way_has_ended(
    moved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = _dump(moved)
    with marked(Mark("step", "r1"), tracking_uri(), moved):
        prepare_store()
        assert "when it has ended" in caplog.text
        assert _dump(moved) == before
    prepare_store()
    assert _dump(moved) != before


def _dump(project: Path) -> str:
    with closing(sqlite3.connect(project / "mlflow.db")) as database:
        return "\n".join(database.iterdump())
