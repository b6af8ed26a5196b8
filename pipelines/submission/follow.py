"""Wait for the end of a run, showing its steps; through minutes without a network, and for every state KFP has."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipelines.submission.runs import get_run
from pipelines.submission.server import Server
from pipelines.submission.states import RunState, state_of
from pipelines.submission.steps import StepState, step_states

FIRST_INTERVAL_SEC = 2.0
MOST_INTERVAL_SEC = 15.0
FOLLOW_PATIENCE_SEC = 600.0  # without a readable answer; the run goes on meanwhile
_GROWTH = 1.3


class ProgressView(Protocol):
    """Shows how far a run is."""

    def show(self, state: RunState, steps: list[StepState]) -> None:
        """Called after every look at the run."""

    def note(self, line: str) -> None:
        """Something else happened: the connection, mostly."""


def follow(server: Server, run_id: str, names: Mapping[str, str], view: ProgressView) -> dict[str, Any]:
    """Look at a run until it has ended.

    Args:
        server: Where; it repeats what fails for as long as its patience says.
        run_id: The run.
        names: Its steps (:func:`pipelines.submission.steps.steps_of_package`); may be empty.
        view: Told of every look.

    Returns:
        The run as it ended; cancelled too where only these looks saw that it was being cancelled.

    Raises:
        KineflowError: The server stayed out of reach, or refuses; the run goes on.
        KeyboardInterrupt: On Ctrl-C, with words on how to go on; the run goes on.
    """
    interval = FIRST_INTERVAL_SEC
    before: object = None
    cancelled = False
    try:
        while True:
            run = get_run(server, run_id)
            state, steps = state_of(run), step_states(run, names)
            cancelled = cancelled or state is RunState.CANCELING
            if cancelled and state is RunState.FAILED:  # ended before the server had noted that in its history
                run, state = run | {"state": RunState.CANCELED}, RunState.CANCELED
            view.show(state, steps)
            if state.is_final:
                return run
            interval = FIRST_INTERVAL_SEC if (state, steps) != before else min(interval * _GROWTH, MOST_INTERVAL_SEC)
            before = (state, steps)
            time.sleep(interval)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"the run goes on; follow it again with: kineflow runs watch {run_id}   "
            f"or stop it with: kineflow runs cancel {run_id}"
        ) from None


@contextmanager
def view_on(console: Console) -> Iterator[ProgressView]:
    """A table that changes in place on a terminal, and one line a change elsewhere."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    with Live(console=console, auto_refresh=False, transient=False) as live:
        yield _Table(live)


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._run: RunState | None = None
        self._steps: dict[str, tuple[RunState, int]] = {}

    def show(self, state: RunState, steps: list[StepState]) -> None:
        for step in steps:
            known = self._steps.get(step.key, (RunState.PENDING, 0))
            if (step.state, step.done) != known:
                self._steps[step.key] = (step.state, step.done)
                self._say(f"{step.name}: {_state_text(step)}")
        if state is not self._run:
            self._run = state
            self._say(f"run: {state.word}")

    def note(self, line: str) -> None:
        self._say(line)

    def _say(self, line: str) -> None:
        self._console.print(f"{datetime.now(UTC):%H:%M:%S}  {line}", soft_wrap=True, highlight=False, markup=False)
        (self._console.file or sys.stderr).flush()


class _Table:
    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, state: RunState, steps: list[StepState]) -> None:
        table = Table(box=None, pad_edge=False, show_header=False)
        for step in steps:
            table.add_row(Text(step.name), Text(_state_text(step), _COLOURS.get(step.state, "")))
        table.add_row(Text("run"), Text(state.word, _COLOURS.get(state, "")))
        self._live.update(table, refresh=True)

    def note(self, line: str) -> None:
        self._live.console.print(line, soft_wrap=True, highlight=False, markup=False)


def _state_text(step: StepState) -> str:
    return f"{step.state.word} ({step.done} of {step.parts})" if step.parts > 1 else step.state.word


_COLOURS = {
    RunState.SUCCEEDED: "green",
    RunState.SKIPPED: "green",
    RunState.RUNNING: "cyan",
    RunState.FAILED: "red",
    RunState.CANCELED: "yellow",
    RunState.CANCELING: "yellow",
    RunState.PAUSED: "yellow",
    RunState.PENDING: "dim",
}
