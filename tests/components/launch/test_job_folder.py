import os
import time

import pytest

from components.launch.job_folder import JobFolder
from kineflow.storage.errors import KineflowError

INPUTS, OUTPUTS = ("clips", "flow", "initial"), ("model",)


@pytest.fixture
def volume(tmp_path):
    volume = tmp_path / "volume"
    volume.mkdir()
    return volume


@pytest.fixture
def given(tmp_path) -> dict:
    clips, initial = tmp_path / "clips", tmp_path / "initial.bin"
    clips.mkdir()
    (clips / "manifest").write_text("rows")
    initial.write_text("weights")
    return {"clips": clips, "initial": initial, "flow": None, "seed": 3, "model": tmp_path / "out" / "model"}


def test_inputs_are_copied_unless_the_nodes_can_read_them_where_they_are(volume, given):
    (volume / "clips").mkdir()
    folder = JobFolder(volume, "run", "job")
    placed = folder.take_in({**given, "clips": volume / "clips"}, INPUTS, OUTPUTS)
    assert placed["clips"] == volume / "clips"
    assert placed["initial"] == folder.path / "inputs" / "initial"
    assert placed["initial"].read_text() == "weights"
    assert placed["model"] == folder.path / "outputs" / "model"
    assert placed["seed"] == 3
    assert "flow" not in placed


def test_an_input_of_several_is_copied_path_by_path(volume, given):
    several = {"models": [given["initial"], volume / "there"], "model": given["model"]}
    (volume / "there").mkdir()
    placed = JobFolder(volume, "run", "job").take_in(several, ("models",), OUTPUTS)
    copied, there = placed["models"]
    assert copied.is_relative_to(volume)
    assert copied.exists()
    assert there == volume / "there"


def test_inputs_that_an_earlier_attempt_has_copied_are_left_alone(volume, given):
    first = JobFolder(volume, "run", "job").take_in(given, INPUTS, OUTPUTS)
    before = (first["clips"] / "manifest").stat()
    again = JobFolder(volume, "run", "job").take_in(given, INPUTS, OUTPUTS)
    assert (again["clips"] / "manifest").stat() == before


def test_the_volume_must_be_there_and_the_inputs_too(volume, given, tmp_path):
    with pytest.raises(KineflowError, match="not mounted"):
        JobFolder(tmp_path / "nowhere", "run", "job").take_in(given, INPUTS, OUTPUTS)
    with pytest.raises(KineflowError, match="there is no clips"):
        JobFolder(volume, "run", "job").take_in({**given, "clips": tmp_path / "nowhere"}, INPUTS, OUTPUTS)


def test_a_volume_that_cannot_be_written_to(volume, given):
    (volume / "jobs").write_text("a file in the way")
    with pytest.raises(KineflowError, match="cannot be written to"):
        JobFolder(volume, "run", "job").take_in(given, INPUTS, OUTPUTS)


@pytest.mark.parametrize("run", ["..", "../..", "/etc"])
def test_no_folder_outside_the_volume(volume, run):
    with pytest.raises(KineflowError, match="outside its root"):
        JobFolder(volume, run, "job/../..")


def test_outputs_replace_what_is_there_whole_and_the_folder_goes(volume, given):
    folder = JobFolder(volume, "run", "job")
    placed = folder.take_in(given, INPUTS, OUTPUTS)
    placed["model"].mkdir(parents=True)
    (placed["model"] / "weights").write_text("new")
    folder.metrics.write_text('{"val/top1": 1}')
    given["model"].mkdir(parents=True)
    (given["model"] / "stale").write_text("old")
    assert folder.hand_out(given, OUTPUTS) == {"val/top1": 1.0}
    assert [path.name for path in given["model"].iterdir()] == ["weights"]
    folder.remove()
    assert list((volume / "jobs").iterdir()) == []


def test_the_folder_of_a_run_stays_while_another_task_has_its_own_in_it(volume, given):
    one, other = (JobFolder(volume, "run", job) for job in ("one", "other"))
    one.take_in(given, INPUTS, OUTPUTS)
    other.take_in(given, INPUTS, OUTPUTS)
    one.remove()
    assert not one.path.exists()
    assert other.path.exists()


@pytest.mark.parametrize("text", ["", "[]", '{"loss": "high"}', '{"loss": null}'])
def test_figures_that_are_none(volume, given, text):
    folder = JobFolder(volume, "run", "job")
    folder.take_in(given, INPUTS, OUTPUTS)
    folder.metrics.write_text(text)
    with pytest.raises(KineflowError, match="figures cannot be read"):
        folder.hand_out(given, OUTPUTS)


def test_folders_that_nobody_has_looked_after_for_two_weeks_are_removed(volume, given):
    abandoned, resting, working = (JobFolder(volume, "old", job) for job in ("abandoned", "resting", "working"))
    for folder, days in ((abandoned, 15), (resting, 13), (working, 15)):
        folder.take_in(given, INPUTS, OUTPUTS)
        then = time.time() - days * 86_400
        for path in (*folder.path.rglob("*"), folder.path):
            os.utime(path, (then, then))
    (working.path / "inputs" / "initial").touch()
    JobFolder(volume, "run", "job").take_in(given, INPUTS, OUTPUTS)
    assert not abandoned.path.exists()
    assert resting.path.exists()
    resting.keep_alive()
    assert time.time() - resting.path.stat().st_mtime < 60
