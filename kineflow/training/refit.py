"""Training as its settings say: epochs counted out, and where that is asked, once more on ``train`` and ``val``."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from kineflow.data.batch_sampler import BatchSampler, Pool
from kineflow.spec.split import Split
from kineflow.tracking.tracker import Tracker
from kineflow.training.loop import Fitted, fit
from kineflow.training.settings import RunSettings
from kineflow.training.tasks import Classification


@dataclass(frozen=True)
class TrainingClips:
    """What a task learns from.

    Attributes:
        clips: Indexed by batch samplers.
        pools: What every batch takes of them; the first are the labelled ones.
    """

    clips: Dataset[Any]
    pools: list[Pool]


def fit_as_set(
    task: Classification,
    *,
    train: TrainingClips,
    val: Dataset[Any] | None,
    train_and_val: Callable[[], TrainingClips],
    settings: RunSettings,
    seed: int,
    work: Path,
    tracker: Tracker,
) -> Fitted:
    """Train ``task.network`` in place by :func:`~kineflow.training.loop.fit`, whose arguments these are.

    With ``settings.refit`` the task then goes back to how it came, and learns from ``train_and_val`` for as many steps
    as were best on ``val``, on the same schedule (Goodfellow et al. 2016, algorithm 7.2). Its figures of ``val`` are
    those of the first training, and its curves go to the tracker as ``refit/…``.

    Args:
        train_and_val: Gives what is learnt from the second time.

    Raises:
        KineflowError: As ``fit``, or settings do not fit the steps that their epochs make.
    """
    settings, given = settings.in_steps(len(train.pools[0].clips)), settings
    if given.epochs:
        every = {"steps": settings.steps, "validate_every_steps": settings.validate_every_steps}
        tracker.note_params({"trained": every})
    untrained = copy.deepcopy(task.state_dict()) if settings.refit else {}
    fitted = fit(
        task,
        train=train.clips,
        batch_sampler=_sampler(train, settings, seed),
        val=val,
        settings=settings,
        work=work,
        tracker=tracker,
        seed=seed,
    )
    if not settings.refit:
        return fitted
    task.load_state_dict(untrained)
    both = train_and_val()
    again = fit(
        task,
        train=both.clips,
        batch_sampler=_sampler(both, settings, seed),
        val=None,
        settings=settings.model_copy(update={"keep": "last", "refit": False}),
        stop_after=fitted.kept_step,
        work=work / "refit",
        tracker=_Refit(tracker),
        seed=seed,
    )
    return dataclasses.replace(
        again,
        metrics={**_of_the_model(fitted.metrics), **again.metrics},
        kept=f"refit on train and val, {fitted.kept}",
        fitted_on=(Split.TRAIN, Split.VAL),
    )


def _of_the_model(metrics: Mapping[str, float]) -> dict[str, float]:
    """The figures of the first training but for where it stopped: the second one goes on as long as was best."""
    return {name: value for name, value in metrics.items() if name != "stopped_after_steps"}


def _sampler(clips: TrainingClips, settings: RunSettings, seed: int) -> BatchSampler:
    return BatchSampler(clips.pools, steps=settings.validate_every_steps, seed=seed)


class _Refit:
    """Hands the figures of the second training on, under names of their own."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        self._tracker.log_metrics({f"refit/{name}": value for name, value in metrics.items()}, step)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self._tracker.set_tags(tags)

    def note_params(self, params: Mapping[str, Any]) -> None:
        self._tracker.note_params(params)
