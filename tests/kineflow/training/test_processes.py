from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kineflow.training import processes

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


@pytest.fixture
def started_as(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the environment that torch's launcher gives a process."""

    def start(rank: int | None, world_size: int = 1) -> None:
        for variable in VARIABLES:
            monkeypatch.delenv(variable, raising=False)
        if rank is not None:
            monkeypatch.setenv("RANK", str(rank))
            monkeypatch.setenv("WORLD_SIZE", str(world_size))

    start(None)
    return start


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(total=st.integers(0, 200), world_size=st.integers(1, 17))
def test_shards_are_everything_once_in_order_and_of_like_size(started_as, total: int, world_size: int) -> None:
    started_as(0, world_size)
    shards = [processes.shard_of(total, rank) for rank in range(world_size)]
    assert [item for shard in shards for item in shard] == list(range(total))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_a_process_that_was_started_alone_is_the_first_and_only_one(started_as) -> None:
    assert (processes.world_size(), processes.rank()) == (1, 0)
    assert processes.is_main_process()
    assert processes.shard_of(5) == range(5)


def test_alone_nothing_is_said_and_everything_is_kept(started_as, tmp_path: Path) -> None:
    rows = torch.rand(3, 2, requires_grad=True)
    assert processes.all_gather(rows, 3) is rows
    assert processes.all_reduce_mean(rows) is rows
    processes.barrier()
    processes.init_process_group(torch.device("cpu"))
    processes.require_shared(tmp_path)
    assert not torch.distributed.is_initialized()
    assert list(tmp_path.iterdir()) == []


def test_the_launcher_says_which_process_this_is(started_as) -> None:
    started_as(5, 8)
    assert (processes.world_size(), processes.rank()) == (8, 5)
    assert not processes.is_main_process()


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:538] Connection closed by peer"), True),
        (torch.distributed.DistBackendError("NCCL error"), True),
        (RuntimeError("CUDA out of memory"), False),
        (ValueError("/gloo/"), False),
    ],
    ids=["gloo", "nccl", "another", "not a RuntimeError"],
)
def test_the_end_of_another_process_is_told_from_other_errors(error: Exception, lost: bool) -> None:
    assert processes.is_lost_process(error) is lost
