"""Look at every clip, in parallel processes that read the videos where they lie.

A process that a file kills (a decoder may crash) is replaced, and the file that did it is named.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

import cv2

from kineflow.data.source import Source, open_source
from kineflow.storage.progress import track
from kineflow.survey.facts import Look
from kineflow.survey.look import LookTask, look_at


def look_at_all(
    tasks: Sequence[LookTask], source: Source, *, workers: int, look: Callable[[LookTask], Look] | None = None
) -> list[Look]:
    """Look at clips, ``workers`` at a time, with progress.

    Args:
        tasks: The clips.
        source: Of the videos.
        workers: Processes.
        look: What a process does with a clip, by default :func:`look_at`; a function of a module.

    Returns:
        A look a task, in their order.

    Raises:
        KineflowError: S3 does not answer.
    """
    looks: dict[int, Look] = {}
    todo = {task.number: task for task in tasks}
    found = _in_pools(todo, source, max(1, min(workers, len(tasks))), look or _look)
    for number, seen in track(found, total=len(tasks), what="look"):
        looks[number] = seen
    return [looks[task.number] for task in tasks]


def _in_pools(
    todo: dict[int, LookTask], source: Source, workers: int, look: Callable[[LookTask], Look]
) -> Iterator[tuple[int, Look]]:
    """As many processes as asked. After a crash the next clips go one by one: the one that crashed is among them."""
    linked = [str(folder) for folder in getattr(source, "linked", ())]
    alone = 0
    while todo:
        batch = list(todo.values())[: 1 if alone else None]
        pool = ProcessPoolExecutor(
            min(workers, len(batch)),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start,
            initargs=(source.root, linked),
        )
        try:
            jobs = {pool.submit(look, task): task.number for task in batch}
            for job in as_completed(jobs):
                seen = job.result()
                del todo[jobs[job]]
                yield jobs[job], seen
        except BrokenProcessPool:
            if alone:
                del todo[batch[0].number]
                yield batch[0].number, Look(problem="its decoder crashes")
            else:
                alone = workers + 2  # tasks go out in order, and no more than these are out at a time
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        alone = max(0, alone - 1)


_SOURCE: list[Source] = []  # of this process


def _start(root: str, linked: Sequence[str]) -> None:
    cv2.setNumThreads(1)
    _SOURCE[:] = [open_source(root, linked=linked)]


def _look(task: LookTask) -> Look:
    return look_at(task, _SOURCE[0])
