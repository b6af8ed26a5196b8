"""The runs of a plan of parts: so many at once, each started once, and found again by name when asked for later."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from kineflow.spec.shard import Shard
from kineflow.storage.errors import KineflowError
from pipelines.cluster.parts import PART, PartsPlan
from pipelines.submission import follow
from pipelines.submission.checks import Package
from pipelines.submission.registry import find_experiment
from pipelines.submission.runs import get_run, list_runs
from pipelines.submission.server import Server, id_in
from pipelines.submission.states import RunState, state_of
from pipelines.submission.submit import RunOptions, submit

_MOST_RUNS = 1_000_000
_GROWTH = 1.3
_SHOWN = 3


@dataclass
class PartRun:
    """A part and its latest run.

    Attributes:
        part: Which.
        name: Of its run.
        run_id: The server's; empty where it has none yet.
        state: Of that run.
    """

    part: Shard
    name: str
    run_id: str = ""
    state: RunState = RunState.UNKNOWN

    @property
    def is_made(self) -> bool:
        """Whether its sets are there."""
        return self.state in (RunState.SUCCEEDED, RunState.SKIPPED)

    @property
    def is_under_way(self) -> bool:
        """Whether its run has not ended."""
        return bool(self.run_id) and not self.state.is_final


@dataclass
class PartRuns:
    """The runs of a plan on a server.

    Attributes:
        server: Where.
        package: Of one part.
        plan: Of all.
        options: For every run; names are the plan's.
        say: Told, in a line, of every change.
        anew: Make parts again that are made.
    """

    server: Server
    package: Package
    plan: PartsPlan
    options: RunOptions
    say: Callable[[str], None]
    anew: bool = False
    runs: list[PartRun] = field(default_factory=list)

    def look(self) -> list[PartRun]:
        """Find what runs of the plan there are already: of several of one part the latest counts."""
        experiment = find_experiment(self.server, self.options.experiment)
        experiment_id = id_in(experiment, "experiment_id", self.server.access.host) if experiment else ""
        listed = list_runs(self.server, experiment_id=experiment_id, last=_MOST_RUNS) if experiment else []
        latest = {str(run.get("display_name")): run for run in reversed(listed)}  # newest first
        self.runs = [PartRun(part, self.plan.run_name(part)) for part in self.plan.parts]
        for each in self.runs:
            if run := latest.get(each.name):
                each.run_id, each.state = str(run["run_id"]), state_of(run)
        return self.runs

    def make_all(self, at_once: int) -> list[PartRun]:
        """Start the runs of all parts that are neither made nor under way, and wait for the end of all.

        A part that fails here is not tried again; it is when this is asked for again.

        Args:
            at_once: How many runs may be under way.

        Raises:
            KineflowError: The server refuses, or stays out of reach; runs go on, and asking again goes on from there.
                Or all are to be made anew, and some are under way.
            KeyboardInterrupt: On Ctrl-C, with words on how to go on; runs go on.
        """
        self.look()
        if self.anew:
            self._forget()
        waiting = [each for each in self.runs if not (each.is_made or each.is_under_way)]
        made, under_way = (sum(test(each) for each in self.runs) for test in (_is_made, _is_under_way))
        self.say(f"{len(self.runs)} parts: {made} made, {under_way} under way, {len(waiting)} to start")
        interval = follow.FIRST_INTERVAL_SEC
        try:
            while waiting or any(map(_is_under_way, self.runs)):
                while waiting and sum(map(_is_under_way, self.runs)) < at_once:
                    self._start(waiting.pop(0))
                time.sleep(interval)
                changed = list(self._changes())
                for each in changed:
                    self.say(
                        f"part {each.part}: {each.state.word}" + (f", {each.run_id}" if each.state.is_final else "")
                    )
                interval = follow.FIRST_INTERVAL_SEC if changed else min(interval * _GROWTH, follow.MOST_INTERVAL_SEC)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                "no more parts are started, and those under way go on; the same command"
                f"{' without --no-cache' if self.anew else ''} goes on from here"
            ) from None
        return self.runs

    def _forget(self) -> None:
        """Count no part as made."""
        if under_way := [each for each in self.runs if each.is_under_way]:
            listed = ", ".join(f"{each.part} ({each.run_id})" for each in under_way[:_SHOWN])
            raise KineflowError(
                f"{len(under_way)} parts are under way, and would be made twice: {listed}",
                remedy="wait for their end or stop them, or go on from there without --no-cache",
            )
        self.runs = [PartRun(each.part, each.name) for each in self.runs]

    def _start(self, each: PartRun) -> None:
        options = replace(self.options, name=each.name, parameters={PART: str(each.part)})
        done = submit(self.server, self.package, options)
        each.run_id, each.state = done.run_id, RunState(done.state)
        self.say(f"part {each.part}: started, {done.run_id}")

    def _changes(self) -> Iterator[PartRun]:
        for each in filter(_is_under_way, self.runs):
            state = state_of(get_run(self.server, each.run_id))
            if state is not each.state:
                each.state = state
                yield each


def _is_made(each: PartRun) -> bool:
    return each.is_made


def _is_under_way(each: PartRun) -> bool:
    return each.is_under_way
