"""Several processes on this machine, by torch's elastic launcher."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from components.launch.worker import LAUNCH, raise_mistake
from kineflow.storage.environment import variables_set
from kineflow.storage.errors import KineflowError
from kineflow.storage.stopping import Stopped, signals_restored

RESTARTS = 3

_HANDLED_BY_LAUNCHER = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def launch(command: list[str], *, devices: int, folder: Path) -> None:
    """Run a command of Python's on several processes of this machine, by torch's elastic launcher.

    A process that dies takes the others with it, and all are started again, ``RESTARTS`` times at most; but not after
    a user's mistake, which would only be repeated.

    Args:
        command: As :func:`components.launch.step_command.step_command` gives it.
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
    with _quiet_launcher(), signals_restored(_HANDLED_BY_LAUNCHER), variables_set(environment):
        try:
            elastic_launch(config, sys.executable)(*command)
        except SignalException as stop:
            raise (KeyboardInterrupt if stop.sigval is signal.SIGINT else Stopped(stop.sigval)) from None
        except ChildFailedError as error:
            raise_mistake(folder)
            rank, failure = error.get_first_failure()
            raise KineflowError(
                f"process {rank} of {devices} ended with {_in_words(failure.exitcode)}, "
                f"after all had been started again {RESTARTS} times",
                remedy="mend what it says above; run the same command again to go on from the last round",
                exit_code=1,
            ) from None
    raise_mistake(folder)


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
def _quiet_launcher() -> Iterator[None]:
    """Keep the launcher's reports of restarts and signals to itself: the processes and this module say what matters."""
    import logging

    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(disabled)
