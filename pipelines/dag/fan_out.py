"""Flow extraction as one task, or fanned out over shards of the clip set and gathered again.

A recipe says :func:`extract_flow`; on how many machines that happens is not its business. The fan-out is static: plain
tasks, known before anything runs, each tried again by itself when it fails. Kubeflow's own loop has none of that: its
tasks are not retried, and it does not run within an exit handler (kubeflow/pipelines#12389, #12390).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from components.frontend.kfp_components import extract_flow as one_task
from components.frontend.kfp_components import merge_flow


@dataclass(frozen=True)
class FanOut:
    """Into how many shards the clips are dealt (1 to 16), and how many of them are worked on at the same time."""

    shards: int = 1
    at_once: int = 1


_ONE_TASK = FanOut()
_CURRENT: ContextVar[FanOut] = ContextVar("fan_out", default=_ONE_TASK)


@contextmanager
def fanned_out(into: FanOut) -> Iterator[None]:
    """Let the recipe that is traced inside the block extract its flow in shards."""
    before = _CURRENT.set(into)
    try:
        yield
    finally:
        _CURRENT.reset(before)


def extract_flow(*, clips: Any, params: Any, after: Any) -> Any:
    """The task that gives the flow set of a clip set, as its output ``flow``.

    Args:
        clips: Clip set, an output of another task.
        params: Section of the parameter file.
        after: Task that must have succeeded before any flow is computed.
    """
    into = _CURRENT.get()
    if into.shards == 1:
        return one_task(clips=clips, params=params).after(after)
    shards: list[Any] = []
    for number in range(into.shards):
        task = one_task(clips=clips, params=params, shard=f"{number}/{into.shards}")
        # No more at once: each waits for the one that many places before it.
        task.after(shards[number - into.at_once] if number >= into.at_once else after)
        shards.append(task.set_display_name(f"extract-flow-{number + 1}-of-{into.shards}"))
    return merge_flow(shards=[task.outputs["flow"] for task in shards])
