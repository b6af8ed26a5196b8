"""Executing a step: its parameters checked before anything runs, tracked, on as many processes as they ask for."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from components.dvc.experiment_copy import share_with_project
from components.frontend.by_dvc import STAGE, RunByDvc, run_by_dvc
from components.frontend.contract import Signature, Step, StepResult, module_of
from components.frontend.cost import Meter
from components.kubernetes.labels import NAMESPACE
from components.launch.kept_work import keep_work
from components.launch.launcher import requested_processes, run_on_processes
from components.launch.worker import check_worker, is_main_process, is_worker
from kineflow.sets.clip_set import MANIFEST_FILE, ClipSet, clips_digest
from kineflow.spec.split import Split
from kineflow.storage.config import parse_params
from kineflow.storage.disk import translate_full_disk
from kineflow.storage.errors import KineflowError
from kineflow.storage.project import find_project
from kineflow.tracking.run_variables import RECIPE, RUN_ID, TASK, TASK_TAG
from kineflow.tracking.tracker import NULL_TRACKER

_MOST_SEED = 2**31 - 1  # what every generator takes, and a KFP number (a double) holds exactly
_USED_FOR = {
    Split.TRAIN: "training", Split.VAL: "validation", Split.TEST: "test", Split.UNLABELLED: "unlabelled"
}  # fmt: skip
_LOG = logging.getLogger("kineflow")


def execute(step: Step, given: Mapping[str, Any]) -> StepResult:
    """Check the parameters of a step, then run it, tracked if tracking is on.

    A training that asks for several processes is run on them, and tracked by the first of them
    (:mod:`components.launch.launcher`).

    Args:
        step: The function.
        given: Arguments by name; parameter sections as plain mappings.

    Raises:
        KineflowError: Parameters do not fit, or as the step raises it.
    """
    signature = Signature.of(step)
    checked = {key: parse_params(kind, given.get(key, {}), where=key) for key, kind in signature.sections.items()}
    plain = {key: given[key] for key in (*signature.inputs, *signature.outputs, *signature.values) if key in given}
    check_seed(plain.get("seed", 0))
    _check_lists(signature, plain)
    requested = requested_processes(checked.values())
    if is_worker():
        check_worker(module_of(step), is_training=requested is not None)
    elif requested and requested[0] == 1:
        keep_work(module_of(step), plain, tuple(signature.outputs))
    if requested and requested != (1, 1) and not is_worker():
        known = plain | {key: given[key] for key in signature.sections if key in given}
        nodes, devices = requested
        figures = run_on_processes(
            module_of(step),
            known,
            inputs=tuple(signature.inputs),
            outputs=tuple(signature.outputs),
            nodes=nodes,
            devices=devices,
        )
        return StepResult(metrics=figures, summary=f"trained by {nodes * devices} processes")
    written = next((Path(plain[key]).parent for key in signature.outputs if key in plain), Path())
    if project := find_project(written):
        share_with_project(project)
    with _tracked(step, given, signature, written) as tracker, translate_full_disk(written):
        _record_inputs(tracker, plain)
        cost_so_far = Meter()
        result = step(**checked, **plain, **({"tracker": tracker} if signature.takes_tracker else {}))
        _LOG.info("%s: %s", given.get("name", step.__name__), result.summary)
        record = getattr(tracker, "record", None)
        if record:
            record({**result.metrics, **cost_so_far.figures()}, result.artifacts, result.tags)
    return result


def check_seed(seed: int) -> None:
    """Refuse a seed that some generator would refuse later.

    Raises:
        KineflowError: It is negative, or above 2**31 - 1.
    """
    if not 0 <= seed <= _MOST_SEED:
        raise KineflowError(
            f"a whole number from 0 to {_MOST_SEED} is expected, not {seed}",
            where="seed",
            remedy="choose one in this range",
        )


def _check_lists(signature: Signature, given: Mapping[str, Any]) -> None:
    for name, between in signature.lists.items():
        count = len(given.get(name, ()))
        if name in given and not between.least <= count <= between.most:
            raise KineflowError(f"{between.least} to {between.most} paths are expected, not {count}", where=name)


def _record_inputs(tracker: Any, given: Mapping[str, Any]) -> None:
    """The clips of each split by what they are: for a tracker that keeps such facts."""
    log_dataset = getattr(tracker, "log_dataset", None)
    if not log_dataset or "clips" not in given or not (given["clips"] / MANIFEST_FILE).is_file():
        return
    with suppress(KineflowError):  # the step itself says what is wrong with them
        clip_set = ClipSet.load(given["clips"], with_unknown_labels=True)
        for split, context in _USED_FOR.items():
            clips = clip_set.usable(split)
            if clips:
                log_dataset(
                    str(split),
                    version=clips_digest(clips),
                    source=str(given["clips"]),
                    context=context,
                    profile={"clips": len(clips), "groups": len({clip.group for clip in clips})},
                )


def _tracked(step: Step, given: Mapping[str, Any], signature: Signature, written: Path) -> AbstractContextManager[Any]:
    """A tracked run of this step, when it is part of a run of a recipe or a tracking store is named.

    It is recorded where the project is that the step writes to, whatever folder it was started from.
    """
    wanted = any(os.environ.get(variable) for variable in (RUN_ID, STAGE, "MLFLOW_TRACKING_URI"))
    if not (wanted and signature.shown.tracked and is_main_process()):
        return nullcontext(NULL_TRACKER)
    root = find_project(written)
    by_dvc = run_by_dvc(written, root) if root else None
    settings = {key: given[key] for key in (*signature.sections, *signature.values) if key in given}
    return _recorded(step, given, settings, by_dvc, root)


def _pod() -> dict[str, str]:
    """By which the run's last step knows the pod of this one, on a cluster."""
    from kineflow.tracking.runs import HOST_TAG

    return {HOST_TAG: socket.gethostname()} if os.environ.get(NAMESPACE) else {}


@contextmanager
def _recorded(
    step: Step, given: Mapping[str, Any], settings: Mapping[str, Any], by_dvc: RunByDvc | None, root: Path | None
) -> Iterator[Any]:
    from kineflow.tracking.kept_log import log_kept
    from kineflow.tracking.runs import open_step_run

    recipe = by_dvc.recipe if by_dvc else os.environ.get(RECIPE, "kineflow")
    task = os.environ.get(TASK, "")
    with (
        by_dvc.kept(given, root) if by_dvc and root else nullcontext(),
        open_step_run(
            str(given.get("name", step.__name__)),
            params=settings,
            experiment=recipe,
            tags={
                "component": step.__name__,
                **({"recipe": recipe} if by_dvc else {}),
                **({TASK_TAG: task} if task else {}),
                **_pod(),
            },
            pipeline_run_id=by_dvc.id if by_dvc else os.environ.get(RUN_ID),
            root=root,
        ) as run,
        log_kept(run) if task else nullcontext(),
    ):
        yield run
