"""What a step prints is kept with its run, bounded, while it goes on and however it ends."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kineflow.storage.errors import KineflowError
from kineflow.tracking import kept_log
from kineflow.tracking.kept_log import LOG_FILE, MOST_BYTES, Transcript, log_kept


class Run:
    """Takes files as a run does."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def log_artifact(self, path: Path, name: str | None = None) -> None:
        assert path.name == LOG_FILE
        assert path.stat().st_size <= MOST_BYTES
        self.sent.append(path.read_text(encoding="utf-8"))


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


@pytest.fixture
def run() -> Any:
    return Run()


@contextmanager
def front_end_log() -> Iterator[logging.Logger]:
    """A log whose handler is made before the step begins, as the front ends do."""
    handler = logging.StreamHandler(sys.stderr)
    log = logging.getLogger("kineflow.test_kept_log")
    log.setLevel(logging.INFO)
    logging.getLogger().addHandler(handler)
    yield log
    logging.getLogger().removeHandler(handler)


def test_everything_printed_is_kept_and_still_printed(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = (sys.stdout, sys.stderr)
    with front_end_log() as log, log_kept(run):
        say("clips: 7")
        log.info("epoch 1")
        sys.stderr.write("a warning\n")
        assert sys.stderr.isatty() is before[1].isatty()
    assert run.sent[-1].split("\n")[:3] == ["clips: 7", "epoch 1", "a warning"]
    assert (sys.stdout, sys.stderr) == before
    say("afterwards")
    assert "afterwards" not in run.sent[-1]
    assert capsys.readouterr() == ("clips: 7\nafterwards\n", "epoch 1\na warning\n")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KineflowError("no clips", remedy="fetch some"), "error: no clips\n  → fetch some"),
        (ZeroDivisionError("division by zero"), "Traceback (most recent call last):"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_the_last_words_are_kept(run: Any, error: BaseException, words: str) -> None:
    with pytest.raises(type(error)), log_kept(run):
        raise error
    assert words in run.sent[-1]


def test_it_is_kept_while_the_step_goes_on_and_ever_more_rarely(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_log, "_FIRST_WAIT_SEC", 0.02)
    monkeypatch.setattr(kept_log, "_SLOWER", 1000.0)
    with log_kept(run):
        say("begun")
        until = time.monotonic() + 30
        while not run.sent and time.monotonic() < until:
            time.sleep(0.01)
        assert run.sent == ["begun\n"]
        say("going on")
        time.sleep(0.1)
        assert len(run.sent) == 1
    assert run.sent[-1] == "begun\ngoing on\n"


def test_no_credential_is_kept(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-7f3a")
    with log_kept(run):
        say("key planted-7f3a of http://ann:word@host/x?sig=abc")
    assert run.sent[-1] == "key *** of http://***@host/x?sig=***\n"


def test_of_a_long_log_the_beginning_and_the_end_are_kept() -> None:
    transcript = Transcript(head_chars=10, tail_chars=20)
    for number in range(1000):
        transcript.add(f"{number:03}\n")
    assert transcript.text.startswith("000\n001\n\n… ")
    assert transcript.text.endswith("998\n999\n")
    (left_out,) = [int(word) for word in transcript.text.split() if word.isdecimal() and len(word) > 3]
    assert len(transcript.text.replace(f"\n… {left_out} characters are left out …\n", "")) + left_out == 4000
    transcript.add("x" * 100 + "\n")
    assert transcript.text.endswith(" …\n" + "x" * 19 + "\n")


@pytest.mark.parametrize("secret_at", range(20))
def test_no_part_of_a_credential_is_left_where_the_log_is_cut(secret_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-7f3a")
    transcript = Transcript(head_chars=16, tail_chars=16)
    for part in ("." * secret_at, "planted", "-7f3a", "." * (19 - secret_at), "\n"):
        transcript.add(part)
        assert "-7f" not in transcript.text
    transcript.add("and then the end\n")
    assert not any(part in transcript.text for part in ("plan", "nted", "-7f", "f3a"))


def test_a_store_that_does_not_answer_holds_no_step_up(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, done = threading.Event(), []

    def log_artifact(path: Path) -> None:
        answers.wait(20)
        done.append(path)

    monkeypatch.setattr(kept_log, "_LAST_WAIT_SEC", 0.05)
    monkeypatch.setattr(run, "log_artifact", log_artifact)
    with log_kept(run):
        say("begun")
    assert not done
    answers.set()


def test_what_prints_as_it_is_destroyed_does_not_wait_for_itself() -> None:
    transcript = Transcript()

    def add_within() -> None:
        with transcript._lock:
            transcript.add("x")

    adding = threading.Thread(target=add_within, daemon=True)
    adding.start()
    adding.join(10)
    assert not adding.is_alive()
    assert transcript.text == "x"


def test_the_longest_log_is_within_bounds(run: Any) -> None:
    with log_kept(run):
        for _ in range(40):
            say("\N{SNOWMAN}" * 10_000)
        sys.stdout.write("\N{SNOWMAN}" * 10_000)
    assert len(run.sent[-1]) > 100_000


def test_a_forked_process_does_not_wait_for_what_was_held_as_it_was_made() -> None:
    transcript = Transcript()
    with transcript._lock:
        child = os.fork()
        if child == 0:
            transcript.add("x")
            os._exit(0)
    ended = threading.Thread(target=os.waitpid, args=(child, 0), daemon=True)
    ended.start()
    ended.join(10)
    assert not ended.is_alive()
