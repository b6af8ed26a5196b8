"""What KFP's local runners print, and what of it a user sees."""

from __future__ import annotations

import io
import json
import re
from collections import deque
from collections.abc import Mapping
from typing import TextIO

# What a runner prints: its own log, and a task's output, indented, among it the executor's log and its input.
_RUNNER = re.compile(r"\d\d:\d\d:\d\d\.\d+ - [A-Z]+ - (.*)")
_STARTED = re.compile(r"Executing task '(.*)'")
_STREAMING = "Streamed logs:"
_EXECUTOR = re.compile(r"^\[KFP Executor [^\]]*\]: ")
_EXECUTOR_TALK = (
    "Looking for component", "Loading KFP component", "Wrote executor output", "Did not write", "Found image",
)  # fmt: skip
_INPUT = "Got executor_input"
_COLOUR = re.compile(r"\x1b\[\d+m")
_INDENT = "    "


class OnlySteps(io.TextIOBase):
    """Passes on what steps say, below a heading a task, and drops what the runner and its executor say of themselves.

    Args:
        target: Where to.
        names: What the recipe calls a task, by KFP's name.
        keep: How many of a task's lines to remember.

    Attributes:
        last_lines: The last lines of the latest task.
    """

    def __init__(self, target: TextIO, names: Mapping[str, str], keep: int = 12) -> None:
        self._target, self._names = target, names
        self._line, self._in_task, self._input = "", False, ""
        self.last_lines: deque[str] = deque(maxlen=keep)

    def write(self, text: str) -> int:
        """Take a piece of text; lines are passed on when they are whole."""
        *whole, self._line = (self._line + text).split("\n")
        for line in whole:
            self._pass(_COLOUR.sub("", line).rstrip())
        return len(text)

    def _pass(self, line: str) -> None:
        if by_runner := _RUNNER.match(line):
            if started := _STARTED.fullmatch(by_runner[1]):
                self.last_lines.clear()
                self._say(f"\n── {self._names.get(started[1], started[1])}")
            self._in_task, self._input = started is not None or by_runner[1] == _STREAMING, ""
        elif self._input:
            self._input = "" if _is_whole(self._input + line) else self._input + line
        elif self._in_task and line.strip():
            text = _EXECUTOR.sub("", line.removeprefix(_INDENT))
            if text.startswith(_INPUT):
                self._input = " "  # what follows, over many lines, is JSON
            elif not text.startswith(_EXECUTOR_TALK):
                self.last_lines.append(text)
                self._say(text)

    def _say(self, line: str) -> None:
        self._target.write(line + "\n")
        self._target.flush()


def _is_whole(text: str) -> bool:
    if not text.endswith("}"):
        return False
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    return True
