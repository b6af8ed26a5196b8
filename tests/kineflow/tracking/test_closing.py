import time
from pathlib import Path
from typing import Any

import pytest

from kineflow.tracking.closing import close_pipeline_run
from kineflow.tracking.runs import open_step_run
from kineflow.tracking.store import connect

RUN = "run-1"


def step(name: str, *, fails: str = "", shard: str = "", host: str = "") -> str:
    params = {"shard": shard} if shard else {}
    run_id = ""
    try:
        tags = {"host": host} if host else {}
        with open_step_run(name, params=params, experiment="d3d", tags=tags, pipeline_run_id=RUN) as run:
            run_id = run.run_id
            if fails:
                raise RuntimeError(fails)
    except RuntimeError:
        pass
    return run_id


def parent() -> Any:
    (found,) = connect().search_runs(
        [e.experiment_id for e in connect().search_experiments()], "tags.`kineflow.kind` = 'pipeline'"
    )
    return found


def test_a_run_whose_steps_all_finished_is_finished(project: Path) -> None:
    step("ingest")
    closed = close_pipeline_run(RUN)
    assert (closed.status, dict(closed.failures), parent().info.status) == ("FINISHED", {}, "FINISHED")


@pytest.mark.slow
def test_a_failed_step_fails_the_run_with_its_last_words(project: Path) -> None:
    step("ingest")
    step("train", fails="the loss became nan")
    closed = close_pipeline_run(RUN)
    assert closed.status == "FAILED"
    assert "the loss became nan" in closed.failures["train"]
    assert parent().info.status == "FAILED"
    assert "the loss became nan" in parent().data.tags["error"]


def test_of_a_step_that_was_tried_again_the_last_attempt_counts(project: Path) -> None:
    step("train", fails="the disk was full")
    step("train")
    assert close_pipeline_run(RUN).status == "FINISHED"


@pytest.mark.slow
def test_a_failed_shard_is_not_hidden_by_another_one(project: Path) -> None:
    step("extract_flow", fails="no flow", shard="0/2")
    step("extract_flow", shard="1/2")
    assert close_pipeline_run(RUN).status == "FAILED"


def test_a_step_that_still_runs_was_killed(project: Path) -> None:
    client = connect()
    run_id = step("train")
    client.update_run(run_id, status="RUNNING")
    closed = close_pipeline_run(RUN)
    assert "without a word" in closed.failures["train"]
    assert client.get_run(run_id).info.status == "FAILED"


def test_an_attempt_that_still_runs_beside_a_later_one_was_killed(project: Path) -> None:
    client = connect()
    first = step("train")
    client.update_run(first, status="RUNNING")
    step("train")
    assert close_pipeline_run(RUN).status == "FINISHED"
    assert client.get_run(first).info.status == "FAILED"


@pytest.mark.slow
def test_a_step_whose_outputs_were_not_stored_has_not_finished(project: Path) -> None:
    lost, made = step("extract_flow", shard="0/2", host="pod-1"), step("extract_flow", shard="0/2", host="pod-2")
    other, trained = step("extract_flow", shard="1/2", host="pod-3"), step("train")
    well = {"pod-1": False, "pod-2": True, "pod-3": True}
    closed = close_pipeline_run(RUN, {"train": "failed to upload"}, ended_well=well)
    assert closed.failures == {"train": "failed to upload"}
    runs = [connect().get_run(each) for each in (lost, made, other, trained)]
    assert [run.info.status for run in runs] == ["FAILED", "FINISHED", "FINISHED", "FAILED"]
    assert "outputs" in runs[0].data.tags["error"]


@pytest.mark.parametrize(("failed_sec", "status"), [(-60, "FINISHED"), (60, "FAILED")])
def test_a_step_that_finished_after_a_pod_failed_is_finished(project: Path, failed_sec: int, status: str) -> None:
    done = step("train", host="pod-2")
    closed = close_pipeline_run(
        RUN, {"train": "OOMKilled"}, ended_well={"pod-1": False}, failed_at={"train": time.time() + failed_sec}
    )
    assert closed.status == status
    assert connect().get_run(done).info.status == "FINISHED", "nobody saw its pod fail"


def test_what_somebody_has_seen_goes_before_what_the_store_holds(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMIplanted")
    step("train", fails="something")
    closed = close_pipeline_run(RUN, {"train": "CUDA out of memory, key wJalrXUtnFEMIplanted", "ingest": "OOMKilled"})
    assert closed.failures == {"train": "CUDA out of memory, key ***", "ingest": "OOMKilled"}
    assert "CUDA out of memory" in parent().data.tags["error"]


def test_a_run_of_which_no_step_has_begun_has_no_record_to_close(project: Path) -> None:
    assert close_pipeline_run(RUN, {"ingest": "ImagePullBackOff"}).status == "FAILED"
