"""Torch's elastic launcher on one node of a TrainJob: ``python -m components.frontend.trainjob_node ARGUMENTS``.

Kubeflow Trainer tells each node its place in ``PET_NODE_RANK``, ``PET_MASTER_ADDR`` and ``PET_MASTER_PORT``. Plain
``torchrun`` takes them for a static rendezvous, in which the nodes never learn of each other's restarts: a node whose
process died starts again and again into the remains of the last attempt, until the others have noticed. So the nodes
meet in a dynamic rendezvous here (``c10d``), in which all of them start again together.

There, each node has to know whether it is the one that holds the rendezvous. Torch asks the name service, which need
not know a pod that has just started; the rank of the node says it for certain.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from components.frontend.exits import exit_code
from components.launch.abandonment import end_when_abandoned, is_abandoned
from components.launch.worker import LAUNCH
from kineflow.storage.errors import KineflowError

NODES_GATHER_SEC = 1800
"""How long a node waits for the others: they may still be fetching the image, or their machines be starting."""


def rendezvous_arguments() -> list[str]:
    """Where and how the nodes meet, as arguments of ``torchrun``.

    Raises:
        KineflowError: This is no node of a TrainJob with torch's runtime.
    """
    try:
        rank, host, port = (os.environ[f"PET_{name}"] for name in ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT"))
    except KeyError as missing:
        raise KineflowError(
            f"{missing.args[0]} is not set, which the torch runtime of Kubeflow Trainer sets on every node",
            remedy="name a training runtime with a torch policy, such as torch-distributed",
        ) from None
    waits = f"join_timeout={NODES_GATHER_SEC},read_timeout={NODES_GATHER_SEC}"
    return [
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={host}:{port}",
        f"--rdzv-conf=is_host={str(rank == '0').lower()},{waits}",
    ]


def main() -> None:
    """Become the elastic launcher of this node; end well where nobody looks after the training any more."""
    folder = Path(os.environ[LAUNCH]) if LAUNCH in os.environ else None

    def launch() -> None:
        if folder and is_abandoned(folder):
            return
        from torch.distributed.run import main as torchrun

        where = rendezvous_arguments()
        if folder:
            end_when_abandoned(folder)
        # A store of its own for each start: in one that is shared, processes would meet what the last ones left, and no
        # number of a start is the same on all nodes, by which they could tell.
        os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        del os.environ["PET_NODE_RANK"]  # of a static rendezvous; torchrun warns that it is ignored in this one
        try:
            torchrun([*where, *sys.argv[1:]])
        except BaseException:
            if not (folder and is_abandoned(folder)):
                raise

    sys.exit(exit_code(launch))


if __name__ == "__main__":
    main()
