"""One training on several processes: which of them this is, what is its shard, and what they tell each other.

torch's elastic launcher says it all in the environment (``RANK``, ``WORLD_SIZE``, …), so that steps need no arguments
for it. In a process that was started alone, there is one, the first, and every function here is the identity. The
functions that talk are collective: all processes call them, in the same order.
"""

from __future__ import annotations

import atexit
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kineflow.storage.errors import KineflowError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LOST_PROCESS = errno.ECONNRESET  # exit code; nothing was wrong here, and the same work may be tried again


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def rank() -> int:
    """Of this process, from 0."""
    return int(os.environ["RANK"]) if world_size() > 1 else 0


def is_main_process() -> bool:
    """Whether this is the process that writes files, talks to MLflow and says how it goes: the one of rank 0."""
    return rank() == 0


def shard_of(total: int, of_rank: int | None = None) -> range:
    """Which of ``total`` things are for one process (this one if None): consecutive, each for exactly one of them."""
    of_rank = rank() if of_rank is None else of_rank
    return range(total * of_rank // world_size(), total * (of_rank + 1) // world_size())


def device_of(wanted: str) -> torch.device:
    """Where this process computes: on the GPU of its rank on this machine, or on the CPU.

    Args:
        wanted: ``cpu``, or else GPUs are used where there are any.
    """
    import torch

    if wanted == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) if world_size() > 1 else 0)


def init_process_group(device: torch.device) -> None:
    """Meet the other processes, once in the life of this one: over NCCL on GPUs, over gloo on CPUs."""
    import torch
    import torch.distributed as dist

    if world_size() == 1 or dist.is_initialized():
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", device_id=device, **_meeting_place())
    else:
        dist.init_process_group("gloo", **_meeting_place())
    atexit.register(dist.destroy_process_group)


def _meeting_place() -> dict[str, Any]:
    """Where the processes find each other.

    The launcher's own store outlives a restart, and would lead to processes that are gone: each attempt has a part of
    it for itself.
    """
    from torch._C._distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, rank, size = next(rendezvous("env://"))
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        store = PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    return {"store": store, "rank": rank, "world_size": size}


def barrier() -> None:
    """Return when every process has come here."""
    _answers_of_all(True)


def main_process_says(answer: bool) -> bool:
    """What the main process answers, whatever this one does."""
    return _answers_of_all(answer)[0]


def _answers_of_all(answer: bool) -> list[bool]:
    """What each process answers, by rank."""
    import torch
    import torch.distributed as dist

    if world_size() == 1:
        return [answer]
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    own = torch.tensor([answer], dtype=torch.uint8, device=device)
    gathered = [torch.empty_like(own) for _ in range(world_size())]
    dist.all_gather(gathered, own)
    return [bool(each) for each in gathered]


def require_shared(folder: Path) -> None:
    """Check that all processes see the folder of the first, where checkpoints lie.

    Raises:
        KineflowError: One does not, in every process.
    """
    if world_size() == 1:
        return
    marker = folder / ".seen"
    if is_main_process():
        marker.touch()
    barrier()
    visible = _answers_of_all(marker.exists())
    if is_main_process():
        marker.unlink(missing_ok=True)
    if not all(visible):
        raise KineflowError(
            f"process {visible.index(False)} of {world_size()} does not see what process 0 wrote",
            where=folder,
            remedy="let the step write to a folder that all machines share: checkpoints are read by all of them",
        )


def all_reduce_mean(values: Tensor) -> Tensor:
    """The same tensor of every process, averaged over them; ``values`` may be overwritten. A GPU is not waited for."""
    import torch.distributed as dist

    if world_size() == 1:
        return values
    dist.all_reduce(values)
    return values / world_size()


def all_gather(rows: Tensor, total: int) -> Tensor:
    """The rows [total, …] of all processes by rank, each process giving those of its shard.

    Args:
        rows: Of this process; what lies behind its shard is left out.
        total: Rows of all processes.
    """
    import torch
    import torch.distributed as dist

    if world_size() == 1:
        return rows
    sizes = [len(shard_of(total, each)) for each in range(world_size())]
    padded = rows.new_zeros(max(sizes), *rows.shape[1:])
    padded[: sizes[rank()]] = rows[: sizes[rank()]]
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def is_lost_process(error: BaseException) -> bool:
    """Whether an error is another process's end, as the backends word it."""
    import torch.distributed as dist

    # gloo raises bare RuntimeErrors, which begin with the place in its sources.
    return isinstance(error, RuntimeError) and (isinstance(error, dist.DistError) or "/gloo/" in str(error))


def lost_process() -> KineflowError:
    """The error to raise where :func:`is_lost_process`."""
    return KineflowError(
        f"process {rank()} of {world_size()} has lost another one, and cannot go on without it",
        remedy="read what the other one says; run the same again to go on from the last round",
        exit_code=LOST_PROCESS,
    )
