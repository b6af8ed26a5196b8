"""Ingestion and flow extraction as one task each, or fanned out over shards and gathered again.

A recipe says :func:`ingest` and :func:`extract_flow`; on how many machines that happens is not its business. The
fan-out is static: plain tasks, known before anything runs, each tried again by itself when it fails. Kubeflow's own
loop has none of that: its tasks are not retried, and it does not run within an exit handler (kubeflow/pipelines#12389,
#12390).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from components.frontend.kfp_components import extract_flow as extract_flow_task
from components.frontend.kfp_components import ingest as ingest_task
from components.frontend.kfp_components import merge_clips, merge_flow


@dataclass(frozen=True)
class FanOut:
    """Into how many shards a step is dealt (1 to 16), and how many of them are worked on at the same time."""

    shards: int = 1
    at_once: int = 1


_ONE_TASK = FanOut()
_CURRENT: ContextVar[Mapping[str, FanOut]] = ContextVar("fan_out", default={})  # noqa: B039


@contextmanager
def fanned_out(into: Mapping[str, FanOut]) -> Iterator[None]:
    """Let the recipe that is traced inside the block do these steps, by name, in shards."""
    before = _CURRENT.set(into)
    try:
        yield
    finally:
        _CURRENT.reset(before)


def ingest(*, params: Any, seed: Any) -> Any:
    """The task that gives the clip set of a source, as its output ``clips``.

    Args:
        params: Section of the parameter file.
        seed: Of the run.
    """
    return _in_shards("ingest", ingest_task, merge_clips, "clips", {"params": params, "seed": seed})


def extract_flow(*, clips: Any, params: Any, after: Any = None) -> Any:
    """The task that gives the flow set of a clip set, as its output ``flow``.

    Args:
        clips: Clip set, an output of another task.
        params: Section of the parameter file.
        after: Task that must have succeeded before any flow is computed; None for no other than that of ``clips``.
    """
    given = {"clips": clips, "params": params}
    return _in_shards("extract_flow", extract_flow_task, merge_flow, "flow", given, *([after] if after else []))


def _in_shards(
    step: str,
    one_task: Callable[..., Any],
    gather: Callable[..., Any],
    output: str,
    given: Mapping[str, Any],
    *after: Any,
) -> Any:
    into = _CURRENT.get().get(step, _ONE_TASK)
    if into.shards == 1:
        return one_task(**given).after(*after)
    shards: list[Any] = []
    for number in range(into.shards):
        task = one_task(**given, shard=f"{number}/{into.shards}")
        # No more at once: each waits for the one that many places before it.
        task.after(*([shards[number - into.at_once]] if number >= into.at_once else after))
        shards.append(task.set_display_name(f"{step.replace('_', '-')}-{number + 1}-of-{into.shards}"))
    return gather(shards=[task.outputs[output] for task in shards])
