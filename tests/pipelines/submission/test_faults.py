"""A bad network, and a server that refuses: nothing is done twice, what passes is no error, and all is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kineflow.storage.errors import KineflowError
from pipelines.submission import server as server_module
from pipelines.submission.submit import Submission
from tests.pipelines.submission.conftest import Ended
from tests.pipelines.submission.kfp_server import Fault, KfpServer

Submit = Callable[..., Ended]
Send = Callable[..., Submission]

CREATIONS = {
    "pipeline": "/pipelines", "version": "/upload_version", "experiment": "/experiments", "run": "/runs",
}  # fmt: skip
READS = {
    "pipeline": "/names/{name}", "versions": "/versions", "experiments": "/experiments",
}  # fmt: skip


def made(kfp: KfpServer) -> list[int]:
    return [len(each) for each in (kfp.pipelines, kfp.versions, kfp.experiments, kfp.runs)]


@pytest.mark.slow
@pytest.mark.parametrize("end", CREATIONS.values(), ids=CREATIONS.keys())
@pytest.mark.parametrize(
    "fault",
    [
        Fault(cut="silent"),
        Fault(cut="silent", done=True),
        Fault(cut="middle", done=True),
        Fault(status=503),
        Fault(status=502, done=True),
        Fault(status=500),
        Fault(status=429, headers=(("Retry-After", "0"),)),
        Fault(body=b'{"run_id": "12'),
    ],
    ids=["cut before", "cut after it took effect", "cut in the answer", "503", "502 after it took effect", "500", "429",
         "half an answer"],
)  # fmt: skip
def test_what_passes_is_tried_again_and_nothing_is_made_twice(
    kfp: KfpServer, send: Send, caplog: pytest.LogCaptureFixture, end: str, fault: Fault
) -> None:
    kfp.fail("POST", end, fault)
    done = send()
    assert "trying again" in caplog.text
    assert made(kfp) == [1, 1, 1, 1]
    assert done.run_id in kfp.runs
    assert done.version_id in kfp.versions
    assert done.experiment_id in kfp.experiments


@pytest.mark.parametrize("end", READS.values(), ids=READS.keys())
def test_reading_is_tried_again_after_every_kind_of_failure(kfp: KfpServer, send: Send, end: str) -> None:
    kfp.fail("GET", end, Fault(status=500), Fault(status=504), Fault(cut="silent"), Fault(cut="middle", done=True))
    send()
    assert made(kfp) == [1, 1, 1, 1]


@pytest.mark.slow
def test_the_command_says_what_it_does_again(kfp: KfpServer, submit: Submit) -> None:
    kfp.fail("GET", "/healthz", Fault(status=503, message="asleep"))
    kfp.fail("POST", "/runs", Fault(cut="silent", done=True))
    ended = submit("--json")
    assert ended.code == 0
    assert ended.err.count("trying again") == 2
    assert made(kfp) == [1, 1, 1, 1]
    assert ended.json["run_id"] in kfp.runs


@pytest.mark.parametrize("done", [False, True], ids=["cut before", "cut after it took effect"])
def test_a_run_is_told_apart_from_others_of_its_name(kfp: KfpServer, send: Send, done: bool) -> None:
    send(name="nightly")
    kfp.fail("POST", "/runs", Fault(cut="silent", done=done))
    sent = send(name="nightly")
    assert len(kfp.runs) == 2
    assert sent.run_id == list(kfp.runs)[1]
    assert len(kfp.asked("POST", "/runs")) == (2 if done else 3)


def test_a_request_that_takes_effect_late_leaves_one_run(kfp: KfpServer, send: Send) -> None:
    """The first request is cut off and works on: its run appears only after we have looked for it in vain."""

    def appear() -> None:
        kfp._create_run({}, {}, kfp.asked("POST", "/runs")[0].body, {})

    kfp.fail("POST", "/runs", Fault(cut="silent"), Fault(before=appear))
    done = send()
    first, second = kfp.runs.values()
    assert done.run_id == first["run_id"]
    assert (first["state"], second["state"]) == ("PENDING", "CANCELING")


@pytest.mark.parametrize("end", [CREATIONS["pipeline"], CREATIONS["version"], CREATIONS["experiment"]])
def test_someone_else_making_the_same_at_the_same_time_is_no_error(kfp: KfpServer, send: Send, end: str) -> None:
    kfp.fail("POST", end, Fault(status=409, done=True))  # theirs is there when we look again
    send()
    assert made(kfp) == [1, 1, 1, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "the request is not valid (400): because"),
        (401, "not logged in (401): because"),
        (403, "not allowed (403): because"),
        (404, "not there (404): because"),
        (409, "is there already (409): because"),
        (418, "request refused (418): because"),
    ],
    ids=["400", "401", "403", "404", "409", "418"],
)
@pytest.mark.parametrize("end", CREATIONS.values(), ids=CREATIONS.keys())
def test_a_refusal_is_said_once_and_not_tried_again(
    kfp: KfpServer, send: Send, status: int, message: str, end: str
) -> None:
    kfp.fail("POST", end, Fault(status=status, message="because"))
    with pytest.raises(KineflowError) as refused:
        send()
    assert message in str(refused.value)
    assert kfp.url in str(refused.value)
    assert len(kfp.asked("POST", end)) == 1


@pytest.mark.parametrize("status", [401, 403], ids=["401", "403"])
def test_the_command_says_what_to_do_about_a_refusal(kfp: KfpServer, submit: Submit, status: int) -> None:
    kfp.fail("POST", "/runs", Fault(status=status, message="because"))
    ended = submit("--json")
    assert ended.code == 2
    assert ended.out == ""
    assert "because" in ended.err
    assert {401: "--token-file", 403: "--namespace"}[status] in ended.err


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Fault(status=503, message="asleep"), Fault(cut="silent")], ids=["503", "cut"])
def test_patience_ends(kfp: KfpServer, send: Send, fault: Fault) -> None:
    kfp.fail("POST", "/runs", *[fault] * 200)
    with pytest.raises(KineflowError, match="asleep" if fault.status else "no answer") as given_up:
        send(patience_sec=1.5)
    assert given_up.value.exit_code == 4
    assert "kineflow runs list" in (given_up.value.remedy or "")
    assert kfp.runs == {}
    assert 1 < len(kfp.asked("POST", "/runs")) < 200


@pytest.mark.parametrize("done", [False, True], ids=["without effect", "after it took effect"])
def test_an_answer_that_takes_too_long_is_given_up_and_asked_for_again(
    kfp: KfpServer, send: Send, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    monkeypatch.setattr(server_module, "_TIMEOUT_SEC", (5.0, 0.5))
    kfp.fail("POST", "/runs", Fault(slow_sec=1.0, cut="silent", done=done))
    sent = send()
    assert list(kfp.runs) == [sent.run_id]


@pytest.mark.parametrize(
    "fault",
    [Fault(page="<html>Log in</html>"), Fault(status=302, headers=(("Location", "/login"),))],
    ids=["a web page", "a redirect"],
)
def test_a_login_page_is_named_as_one(kfp: KfpServer, submit: Submit, fault: Fault) -> None:
    kfp.fail("GET", "/healthz", fault)
    ended = submit()
    assert ended.code == 2
    assert "as for a login" in ended.err
    assert kfp.pipelines == {}


def test_a_server_that_is_not_there_is_named(submit: Submit, kfp: KfpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module.Server.__init__, "__kwdefaults__", {"patience_sec": 0.05, "told": None})
    ended = submit(host="http://127.0.0.1:9")
    assert ended.code == 4
    assert "http://127.0.0.1:9" in ended.err
    assert "refused" in ended.err
    assert "Traceback" not in ended.err
