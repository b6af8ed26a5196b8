"""``kineflow submit --schedule``: one schedule of a name, whatever happens."""

from __future__ import annotations

from collections.abc import Callable

from pipelines.submission.submit import Submission
from tests.pipelines.submission.conftest import Ended
from tests.pipelines.submission.kfp_server import Fault, KfpServer

Submit = Callable[..., Ended]
Send = Callable[..., Submission]


def test_a_schedule_never_overlaps_and_makes_up_for_nothing(kfp: KfpServer, submit: Submit) -> None:
    ended = submit("--schedule", "0 3 * * 1", "--json")
    assert ended.code == 0, ended.err
    ((schedule_id, schedule),) = kfp.schedules.items()
    assert schedule["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * 1"}}
    assert schedule["max_concurrency"] == "1"
    assert schedule["no_catchup"] is True
    assert schedule["mode"] == "ENABLE"
    assert schedule["display_name"] == "d3d"
    assert kfp.runs == {}
    answer = ended.json
    assert (answer["schedule_id"], answer["schedule"], answer["state"]) == (schedule_id, "0 0 3 * * 1", "ENABLED")
    assert answer["url"] == f"{kfp.url}/#/recurringrun/details/{schedule_id}"
    assert "run_id" not in answer


def test_a_second_schedule_of_the_name_replaces_the_first(kfp: KfpServer, submit: Submit) -> None:
    first, second = submit("--schedule", "0 3 * * *", "--json"), submit("--schedule", "0 4 * * *", "--json")
    assert list(kfp.schedules) == [second.json["schedule_id"]]
    assert second.json["replaced_schedules"] == [first.json["schedule_id"]]
    assert f"replaced schedule {first.json['schedule_id']}" in second.err


def test_the_new_schedule_is_there_before_the_old_one_goes(kfp: KfpServer, send: Send) -> None:
    send(cron="0 0 3 * * *")
    there: list[int] = []
    kfp.fail("DELETE", "/{recurring_run_id}", Fault(before=lambda: there.append(len(kfp.schedules))))
    send(cron="0 0 4 * * *")
    assert there == [2]


def test_schedules_of_other_names_experiments_and_people_are_left_alone(kfp: KfpServer, send: Send) -> None:
    send(cron="0 0 3 * * *")
    (theirs,) = kfp.schedules.values()
    theirs["description"] = "made by hand"
    send(cron="0 0 3 * * *", name="other")
    send(cron="0 0 3 * * *")
    assert len(kfp.schedules) == 3


def test_a_cut_connection_makes_one_schedule(kfp: KfpServer, send: Send) -> None:
    kfp.fail("POST", "/recurringruns", Fault(cut="silent", done=True))
    done = send(cron="0 0 3 * * *")
    assert list(kfp.schedules) == [done.schedule_id]
    assert len(kfp.asked("POST", "/recurringruns")) == 1


def test_an_old_schedule_whose_removal_was_cut_off_is_gone(kfp: KfpServer, send: Send) -> None:
    send(cron="0 0 3 * * *")
    kfp.fail("DELETE", "/{recurring_run_id}", Fault(cut="silent", done=True))
    done = send(cron="0 0 4 * * *")
    assert list(kfp.schedules) == [done.schedule_id]


def test_a_faulty_expression_is_refused_before_anything_is_sent(kfp: KfpServer, submit: Submit) -> None:
    ended = submit("--schedule", "every day")
    assert ended.code == 2
    assert "five fields" in ended.err
    assert kfp.requests == []


def test_there_is_nothing_to_watch_on_a_schedule(kfp: KfpServer, submit: Submit) -> None:
    ended = submit("--schedule", "0 3 * * *", "--watch")
    assert ended.code == 2
    assert "--watch and --schedule" in ended.err
    assert kfp.requests == []
