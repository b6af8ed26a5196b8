"""A training step on several processes: torch's elastic launcher on this machine, or Kubeflow Trainer on a cluster.

A step whose settings ask for more than one process starts itself again, as the command that it would be for a user,
once for each process (:func:`run`). Inside, rank 0 alone writes outputs and talks to MLflow; the process that has
started them reads the figures back. When a process dies, the launcher ends the others and starts all again; they go on
from the checkpoint of the last round.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from components.contract import StepResult
from kineflow.storage.config import Params
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file

TRAINJOB = "KINEFLOW_TRAINJOB"  # set on a cluster: how to make a TrainJob there
LAUNCH = "KINEFLOW_LAUNCH"  # folder where processes leave word for the one that has started them
RESTARTS = 3

_METRICS, _MISTAKE = "metrics.json", "mistake.json"
_PARENT_DEATH_SIGNAL = 1  # prctl's PR_SET_PDEATHSIG


def is_worker() -> bool:
    """Whether torch's launcher has started this process, ours or a user's ``torchrun``."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_rank_zero() -> bool:
    """Whether this process writes outputs and talks to MLflow; so does one that was started alone."""
    return not is_worker() or int(os.environ["RANK"]) == 0


def asked_for(sections: Iterable[Params]) -> tuple[int, int] | None:
    """Nodes, and processes a node, that the settings of a step ask for; None where none of them are of a training."""
    module = sys.modules.get("kineflow.training.settings")  # a step that trains has imported it, others do without
    if module is None:
        return None
    return next(((each.nodes, each.devices) for each in sections if isinstance(each, module.RunSettings)), None)


def check_worker(name: str, asked: tuple[int, int] | None) -> None:
    """Check that a step which several processes have been started for can use them.

    Raises:
        KineflowError: It is no training, so that each process would do and write the same.
    """
    if asked is None and int(os.environ["WORLD_SIZE"]) > 1:
        raise KineflowError(
            f"the step {name} runs in one process", remedy=f"start it as: python -m components.{name} …"
        )


def run(name: str, given: Mapping[str, Any], *, nodes: int, devices: int) -> StepResult:
    """Run a training step on several processes, and give its figures.

    Args:
        name: Of the step.
        given: Its arguments by name, as :func:`components.frontend.execute` takes them.
        nodes: Machines; more than one on a cluster only.
        devices: Processes a machine.

    Raises:
        KineflowError: As the step raises it; or there is no way to as many processes from here.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the processes have ended, and the last round's checkpoint is kept.
    """
    if nodes == 1:
        with tempfile.TemporaryDirectory(prefix="kineflow-") as folder:
            metrics = Path(folder) / _METRICS
            launch(step_command(name, given, metrics), devices=devices, folder=Path(folder))
            figures: dict[str, float] = json.loads(metrics.read_text())
    elif os.environ.get(TRAINJOB):
        from components.trainjob import run_trainjob

        figures = dict(run_trainjob(name, given, nodes=nodes, devices=devices))
    else:
        raise KineflowError(
            f"{nodes} nodes are asked for, and one machine cannot start the others",
            where=name,
            remedy="submit the recipe to a cluster; or on each machine, with outputs on a folder they share, run: "
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 torchrun "
            f"--nnodes {nodes} --nproc-per-node {devices} --rdzv-backend c10d --rdzv-endpoint FIRST_MACHINE:29400 "
            f"-m components.{name} … (the same arguments)",
        )
    return StepResult(metrics=figures, summary=f"trained by {nodes * devices} processes")


def step_command(name: str, given: Mapping[str, Any], metrics: Path) -> list[str]:
    """What to call Python with, to run a step as a command that writes its figures to ``metrics``.

    Args:
        name: Of the step.
        given: Its arguments by name: paths, parameter sections as plain mappings, and plain values. None: not given.
        metrics: File to write.
    """
    command = ["-m", f"components.{name}"]
    for key, value in {**given, "metrics": metrics}.items():
        if value is None:
            continue
        flag, text = f"--{key.replace('_', '-')}", str(value) if isinstance(value, str | Path) else json.dumps(value)
        command += [f"{flag}={text}"] if text.startswith("-") else [flag, text]
    return command


def launch(command: list[str], *, devices: int, folder: Path) -> None:
    """Run a command of Python's on several processes of this machine, by torch's elastic launcher.

    A process that dies takes the others with it, and all are started again, ``RESTARTS`` times at most; but not after
    a user's mistake, which would only be repeated.

    Args:
        command: As :func:`step_command` gives it.
        devices: How many processes.
        folder: Where they leave word.

    Raises:
        KineflowError: Of whichever process raised it first; or processes kept dying.
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    _check_devices(devices)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=devices,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # a port that is free
        local_addr="localhost",
        max_restarts=RESTARTS,
    )
    threads = max(1, (os.cpu_count() or 1) // devices)
    environment = {LAUNCH: str(folder), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
    with _quiet_launcher(), _signals_restored(), _in_environment(environment):
        try:
            elastic_launch(config, sys.executable)(*command)
        except SignalException:
            raise KeyboardInterrupt from None
        except ChildFailedError as error:
            _raise_mistake(folder)
            rank, failure = error.get_first_failure()
            raise KineflowError(
                f"process {rank} of {devices} ended with {_in_words(failure.exitcode)}, "
                f"after all had been started again {RESTARTS} times",
                remedy="mend what it says above; run the same command again to go on from the last round",
                exit_code=1,
            ) from None
    _raise_mistake(folder)


def begin_worker() -> None:
    """Do what a process of :func:`launch` does first; nothing in any other.

    It ends with its launcher, even when that is killed, and at once where another process has found a mistake.
    """
    if LAUNCH not in os.environ:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if (Path(os.environ[LAUNCH]) / _MISTAKE).exists():
        sys.exit(0)


def restarts_done() -> int:
    """How often the launcher has started this process's predecessors."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def hand_over(error: KineflowError) -> bool:
    """Leave a mistake to the launcher, which says it once; False where there is no launcher of ours to say it."""
    from kineflow.training.processes import LOST_PROCESS

    if LAUNCH not in os.environ:
        return False
    mistake = Path(os.environ[LAUNCH]) / _MISTAKE
    if error.exit_code != LOST_PROCESS and not mistake.exists():
        where = None if error.where is None else str(error.where)
        told = {"problem": error.problem, "where": where, "remedy": error.remedy, "exit_code": error.exit_code}
        with atomic_file(mistake) as partial:
            partial.write_text(json.dumps(told))
    return True


def _raise_mistake(folder: Path) -> None:
    """Raise what :func:`hand_over` left, if anything."""
    mistake = folder / _MISTAKE
    if mistake.exists():
        told = json.loads(mistake.read_text())
        raise KineflowError(told.pop("problem"), **told) from None


def _check_devices(devices: int) -> None:
    import torch

    if torch.cuda.is_available() and torch.cuda.device_count() < devices:
        raise KineflowError(
            f"devices is {devices}, and this machine has {torch.cuda.device_count()} GPUs",
            remedy="ask for as many devices as there are, or hide all GPUs (CUDA_VISIBLE_DEVICES=) to use the CPU",
        )


def _in_words(exit_code: int) -> str:
    """An exit code, or the signal that it stands for."""
    with suppress(ValueError):
        if exit_code < 0:
            return signal.Signals(-exit_code).name
    return f"exit code {exit_code}"


@contextmanager
def _in_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Have variables set for the processes that are started within the block."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _signals_restored() -> Iterator[None]:
    """Undo the launcher's signal handlers."""
    handled = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    before = {each: signal.getsignal(each) for each in handled}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _quiet_launcher() -> Iterator[None]:
    """Keep the launcher's reports of restarts and signals to itself: the processes and this module say what matters."""
    import logging

    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(disabled)
