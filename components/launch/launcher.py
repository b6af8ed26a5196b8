"""A training step on several processes: torch's elastic launcher on this machine, or Kubeflow Trainer on a cluster.

A step whose settings ask for more than one process starts itself again, as the command that it would be for a user,
once for each process (:func:`run_on_processes`). Inside, rank 0 alone writes outputs and talks to MLflow; the process
that has started them reads the figures back. When a process dies, the launcher ends the others and starts all again;
they go on from the checkpoint of the last round.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.launch.step_command import step_command
from components.launch.trainjob_settings import TRAINJOB
from kineflow.spec.output_files import METRICS_FILE
from kineflow.storage.config import Params
from kineflow.storage.errors import KineflowError


def requested_processes(sections: Iterable[Params]) -> tuple[int, int] | None:
    """Nodes, and processes a node, that the settings of a step ask for; None where none of them are of a training."""
    module = sys.modules.get("kineflow.training.settings")  # a step that trains has imported it, others do without
    if module is None:
        return None
    return next(((each.nodes, each.devices) for each in sections if isinstance(each, module.RunSettings)), None)


def run_on_processes(
    module: str, given: Mapping[str, Any], *, inputs: Sequence[str], outputs: Sequence[str], nodes: int, devices: int
) -> dict[str, float]:
    """Run a training step on several processes.

    Args:
        module: Of the step.
        given: Its arguments by name, as :func:`components.frontend.run.execute` takes them.
        inputs, outputs: Which of them are paths to read, and to write.
        nodes: Machines; more than one on a cluster only.
        devices: Processes a machine.

    Returns:
        The step's final figures.

    Raises:
        KineflowError: As the step raises it; or there is no way to as many processes from here.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the processes have ended, and the last round's checkpoint is kept.
    """
    if nodes == 1:
        from components.launch.local import launch

        with tempfile.TemporaryDirectory(prefix="kineflow-") as folder:
            metrics = Path(folder) / METRICS_FILE
            launch(step_command(module, given, metrics), devices=devices, folder=Path(folder))
            figures: dict[str, float] = json.loads(metrics.read_text())
            return figures
    if os.environ.get(TRAINJOB):
        from components.launch.trainjob import run_trainjob

        return run_trainjob(module, given, inputs=inputs, outputs=outputs, nodes=nodes, devices=devices)
    raise KineflowError(
        f"{nodes} nodes are asked for, and one machine cannot start the others",
        where=module.rpartition(".")[2],
        remedy="submit the recipe to a cluster; or on each machine, with outputs on a folder they share, run: "
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 torchrun "
        f"--nnodes {nodes} --nproc-per-node {devices} --rdzv-backend c10d --rdzv-endpoint FIRST_MACHINE:29400 "
        f"-m {module} … (the same arguments)",
    )
