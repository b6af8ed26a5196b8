"""One training on several processes: which of them this is, what is its share, and what they tell each other.

torch's elastic launcher says it all in the environment (``RANK``, ``WORLD_SIZE``, …), so that steps need no arguments
for it. In a process that was started alone, there is one, the first, and every function here is the identity. The
functions that talk are collective: all processes call them, in the same order.
"""

from __future__ import annotations

import atexit
import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kineflow.storage.errors import KineflowError

if TYPE_CHECKING:
    from torch import Tensor

LOST_PROCESS = errno.ECONNRESET  # exit code; nothing was wrong here, and the same work may be tried again


def count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def number() -> int:
    """Of this process, from 0."""
    return int(os.environ["RANK"]) if count() > 1 else 0


def count_here() -> int:
    """How many of them run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if count() > 1 else 1


def is_first() -> bool:
    """Whether this is the process that writes files, talks to MLflow and says how it goes."""
    return number() == 0


def share_of(total: int, process: int | None = None) -> range:
    """Which of ``total`` things are for one process (this one if None): consecutive, each for exactly one of them."""
    process = number() if process is None else process
    return range(total * process // count(), total * (process + 1) // count())


def join(device: str) -> None:
    """Meet the other processes, once in the life of this one: over NCCL on GPUs, over gloo on CPUs.

    Args:
        device: ``cpu``, or else GPUs are used where there are any.
    """
    import torch
    import torch.distributed as dist

    if count() == 1 or dist.is_initialized():
        return
    if device != "cpu" and torch.cuda.is_available():
        gpu = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(gpu)
        dist.init_process_group("nccl", device_id=gpu, **_meeting_place())
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


def wait_for_all() -> None:
    """Return when every process has come here."""
    everywhere(True)


def everywhere(here: bool) -> list[bool]:
    """What each process says, in their order."""
    import torch
    import torch.distributed as dist

    if count() == 1:
        return [here]
    said = torch.tensor([here], dtype=torch.uint8, device=_device())
    heard = [torch.empty_like(said) for _ in range(count())]
    dist.all_gather(heard, said)
    return [bool(each) for each in heard]


def require_shared(folder: Path) -> None:
    """Check that all processes see the folder of the first, where checkpoints lie.

    Raises:
        KineflowError: One does not, in every process.
    """
    if count() == 1:
        return
    marker = folder / ".seen"
    if is_first():
        marker.touch()
    wait_for_all()
    seen = everywhere(marker.exists())
    if is_first():
        marker.unlink(missing_ok=True)
    if not all(seen):
        raise KineflowError(
            f"process {seen.index(False)} of {count()} does not see what process 0 wrote",
            where=folder,
            remedy="let the step write to a folder that all machines share: checkpoints are read by all of them",
        )


def mean(terms: Mapping[str, Tensor]) -> dict[str, float]:
    """Scalars as numbers, averaged over the processes."""
    import torch
    import torch.distributed as dist

    if count() > 1:
        values = torch.stack([value.detach().float() for value in terms.values()])
        dist.all_reduce(values)
        return dict(zip(terms, (values / count()).tolist(), strict=True))
    return {name: float(value.detach()) for name, value in terms.items()}


def gathered(rows: Tensor, total: int) -> Tensor:
    """The rows [total, …] of all processes in their order, each process giving those of its share.

    Args:
        rows: Of this process; what lies behind its share is left out.
        total: Rows of all processes.
    """
    import torch
    import torch.distributed as dist

    if count() == 1:
        return rows
    sizes = [len(share_of(total, process)) for process in range(count())]
    padded = rows.new_zeros(max(sizes), *rows.shape[1:])
    padded[: sizes[number()]] = rows[: sizes[number()]]
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
        f"process {number()} of {count()} has lost another one, and cannot go on without it",
        remedy="read what the other one says; run the same again to go on from the last round",
        exit_code=LOST_PROCESS,
    )


def _device() -> str:
    import torch.distributed as dist

    return "cuda" if dist.get_backend() == "nccl" else "cpu"
