import errno
from contextlib import nullcontext
from pathlib import Path

import pytest

from components.frontend.run import check_seed, execute
from kineflow.storage.errors import KineflowError
from kineflow.tracking.tracker import NULL_TRACKER
from tests.components.frontend.brew import brew


@pytest.fixture
def given(tmp_path, monkeypatch) -> dict:
    for variable in ("KINEFLOW_RUN_ID", "DVC_STAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "water").touch()
    return {"water": tmp_path / "water", "leaves": [tmp_path / "mint"], "tea": tmp_path / "tea", "name": "x"}


def test_sections_are_checked_before_the_step_runs(given):
    with pytest.raises(KineflowError, match=r"params\.strength"):
        execute(brew, {**given, "params": {"strength": 0}})
    assert not given["tea"].exists()


@pytest.mark.parametrize("count", [0, 4])
def test_a_list_of_another_length_is_refused(given, count):
    with pytest.raises(KineflowError, match=f"leaves: 1 to 3 paths are expected, not {count}"):
        execute(brew, {**given, "leaves": [given["water"]] * count})
    assert not given["tea"].exists()


def test_a_full_disk_names_where_the_step_wrote(given, monkeypatch):
    def full(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(KineflowError, match="no space left") as caught:
        execute(brew, given)
    assert (caught.value.where, caught.value.exit_code) == (given["tea"].parent, errno.ENOSPC)


def test_a_step_is_recorded_in_the_project_that_it_writes_to(given, tmp_path, monkeypatch):
    monkeypatch.delenv("KINEFLOW_PROJECT", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    for folder in (".dvc", "elsewhere", "deep"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    roots = []

    def record(*_: object, root: Path | None, **__: object):
        roots.append(root)
        return nullcontext(NULL_TRACKER)

    monkeypatch.setattr("kineflow.tracking.runs.open_step_run", record)
    execute(brew, {**given, "tea": tmp_path / "deep" / "tea"})
    assert roots == [tmp_path]


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(KineflowError, match=f"seed: a whole number from 0 .* not {seed}"):
        check_seed(seed)
