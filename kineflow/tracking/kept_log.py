"""What a step prints, kept with its MLflow run while it goes on: the pod that shows it is gone some day.

Kept is what Python writes: log lines, messages, tracebacks. What native libraries and other processes write to the
terminal themselves is not. The text is bounded (its beginning and its end), sent ever more rarely, and without
credentials.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kineflow.storage.credentials import redact
from kineflow.storage.errors import KineflowError
from kineflow.tracking.runs import StepRun

LOG_FILE = "log.txt"
"""Among the files of a step's run."""

MOST_BYTES = 1 << 20
"""No kept log is longer."""

_HEAD_CHARS, _TAIL_CHARS = 50_000, 150_000  # of at most 4 bytes each
_LONGEST_LINE = 10_000
_FIRST_WAIT_SEC, _MOST_WAIT_SEC, _SLOWER = 15.0, 600.0, 1.5
_LAST_WAIT_SEC = 30.0  # for what is under way as the step ends


@contextmanager
def log_kept(run: StepRun) -> Iterator[None]:
    """Keep what the block prints with a run, as ``log.txt``; a store that fails ends nothing, nor holds it up for long.

    What the block raises is passed on, its words or traceback kept.
    """
    transcript = Transcript()
    ended = threading.Event()
    sender = threading.Thread(target=_send_while, args=(transcript, run, ended), name="log", daemon=True)
    with _copied(transcript):
        sender.start()
        try:
            yield
        except KineflowError as error:
            transcript.add(f"error: {error}\n")
            raise
        except BaseException:
            transcript.add(traceback.format_exc())
            raise
        finally:
            ended.set()
            sender.join(_LAST_WAIT_SEC)


class Transcript:
    """The beginning and the end of a text that grows, in whole lines without credentials; those between are counted."""

    def __init__(self, head_chars: int = _HEAD_CHARS, tail_chars: int = _TAIL_CHARS) -> None:
        self._head, self._tail, self._unfinished = "", deque[str](), ""
        self._most_head, self._most_tail = head_chars, tail_chars
        self._in_tail = self._left_out = 0
        # A garbage collection in the midst of adding may destroy what prints as it goes.
        self._lock, self._process = threading.RLock(), os.getpid()

    def add(self, text: str) -> None:
        """Take more of it; nothing in a forked process, which has a copy of its own, perhaps with the lock held."""
        if os.getpid() != self._process:
            return
        with self._lock:
            self._unfinished += text
            end = self._unfinished.rfind("\n") + 1
            if len(self._unfinished) - end > _LONGEST_LINE:
                end = len(self._unfinished)
            finished, self._unfinished = self._unfinished[:end], self._unfinished[end:]
            for line in redact(finished).splitlines(keepends=True) if finished else ():
                self._keep(line)

    def _keep(self, line: str) -> None:
        if not self._tail and len(self._head) + len(line) <= self._most_head:
            self._head += line
            return
        self._tail.append(line[-self._most_tail :])
        self._left_out += len(line) - len(self._tail[-1])
        self._in_tail += len(self._tail[-1])
        while self._in_tail > self._most_tail:
            dropped = self._tail.popleft()
            self._in_tail -= len(dropped)
            self._left_out += len(dropped)

    @property
    def text(self) -> str:
        """What is kept so far."""
        with self._lock:
            between = f"\n… {self._left_out} characters are left out …\n" if self._left_out else ""
            return redact(self._head + between + "".join(self._tail) + self._unfinished)


class _Copying:
    """A text stream whose words go to a transcript too."""

    def __init__(self, stream: Any, transcript: Transcript) -> None:
        self._stream, self._transcript = stream, transcript

    def write(self, text: str) -> int:
        written: int = self._stream.write(text)
        self._transcript.add(text)
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _copied(transcript: Transcript) -> Iterator[None]:
    """Copy what goes to standard output and error, by way of log handlers made before too."""
    streams = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    copies = {id(stream): _Copying(stream, transcript) for stream in streams.values()}
    handlers = [
        (handler, handler.stream)
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and id(handler.stream) in copies
    ]
    try:
        for name, stream in streams.items():
            setattr(sys, name, copies[id(stream)])
        for handler, stream in handlers:
            handler.setStream(copies[id(stream)])
        yield
    finally:
        for handler, stream in handlers:
            handler.setStream(stream)
        for name, stream in streams.items():
            setattr(sys, name, stream)


def _send_while(transcript: Transcript, run: StepRun, ended: threading.Event) -> None:
    """Send what is new, ever more rarely, and once more at the end."""
    wait_sec, sent = _FIRST_WAIT_SEC, ""
    while not ended.wait(wait_sec):
        if (text := transcript.text) != sent:
            _send(transcript, run)
            sent = text
        wait_sec = min(wait_sec * _SLOWER, _MOST_WAIT_SEC)
    _send(transcript, run)


def _send(transcript: Transcript, run: StepRun) -> None:
    with suppress(OSError), tempfile.TemporaryDirectory() as folder:  # a full disk has been said by the step
        file = Path(folder) / LOG_FILE
        file.write_text(transcript.text, encoding="utf-8", errors="replace")
        run.log_artifact(file)
