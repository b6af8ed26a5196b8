"""Solving batches on a device."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch

from kineflow.flow import tvl1
from kineflow.flow.extraction import solving
from kineflow.flow.extraction.settings import ExtractSettings
from kineflow.flow.extraction.solving import BatchSolver, solvers_of
from kineflow.spec.flow_source import CameraMotion
from kineflow.spec.quantise import dequantise, quantise
from kineflow.spec.tvl1 import PRESETS, SolverChoice
from kineflow.storage.errors import KineflowError

SETTINGS = ExtractSettings(tvl1=PRESETS["fast"], bound_px=5.0)


def moving(frames: int) -> np.ndarray:
    """uint8 [T, 32, 40]: a smooth texture that moves right by 1 px."""
    world = np.random.default_rng(0).integers(0, 255, (8, 30)).astype(np.float32).repeat(4, 0).repeat(4, 1)
    world = sum(np.roll(world, (dy, dx), (0, 1)) for dy in range(-2, 3) for dx in range(-2, 3)) / 25
    return np.stack([world[:, 60 - t : 100 - t] for t in range(frames)]).astype(np.uint8)


def test_flow_is_the_motion() -> None:
    frames = moving(4)
    solver = BatchSolver("cpu", SETTINGS)
    levels = solver.solve(frames[:-1], frames[1:])
    assert (levels.shape, levels.dtype, levels.flags.c_contiguous) == ((3, 32, 40, 2), np.uint8, True)
    u, v = np.moveaxis(dequantise(levels, 5.0)[:, 8:-8, 8:-8], -1, 0)
    assert abs(u.mean() - 1) < 0.1
    assert abs(v.mean()) < 0.1
    assert solver.busy_seconds > 0


@pytest.mark.parametrize("camera_motion", ["kept", "removed"])
@pytest.mark.parametrize("solver", get_args(SolverChoice))
def test_the_solver_asked_for_solves(
    solver: SolverChoice, camera_motion: CameraMotion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of both flows; a GPU's solvers are stood in for."""
    asked: list[str] = []

    def module(name: str) -> SimpleNamespace:
        asked.append(name)
        return SimpleNamespace(
            solve=lambda first, *_: torch.zeros(len(first), 2, *first.shape[1:]), why_not=lambda *_: ""
        )

    monkeypatch.setattr(tvl1, "_module", module)
    settings = ExtractSettings(tvl1=PRESETS["fast"], camera_motion=camera_motion, solver=solver)
    BatchSolver("cpu", settings).solve(moving(3)[:-1], moving(3)[1:])
    assert set(asked) == {"fused" if solver == "auto" else solver}


def test_the_camera_s_motion_can_be_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is stored is the warped flow."""
    from kineflow.flow import warped

    frames = moving(3)
    expected = torch.full((2, 2, 32, 40), 1.5)

    def fake(first: torch.Tensor, *_: Any, **__: Any) -> Any:
        return warped.WarpedFlow(torch.zeros_like(expected), expected, ())

    monkeypatch.setattr(warped, "warped_flow", fake)
    settings = ExtractSettings(tvl1=PRESETS["fast"], bound_px=5.0, camera_motion="removed")
    flow = BatchSolver("cpu", settings).solve(frames[:-1], frames[1:])
    np.testing.assert_array_equal(flow, quantise(expected.permute(0, 2, 3, 1).numpy(), 5.0))


def test_too_large_a_batch_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(solving, "tvl1_flow", full)
    with pytest.raises(KineflowError, match="5 pairs of 40x32") as caught:
        BatchSolver("cpu", SETTINGS).solve(moving(6)[:-1], moving(6)[1:])
    assert "batch_pairs" in str(caught.value)


def test_one_solver_a_worker_or_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(solvers_of(ExtractSettings(workers=3))) == 3
    assert len(solvers_of(ExtractSettings(workers=3, devices=("cuda:0", "cuda:1")))) == 2


class FakeCuda:
    """Records what streams are told, in order; time goes on by a second an event."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []
        self._streams = 0
        self._current = threading.local()

    def Stream(self, _: Any) -> FakeStream:  # noqa: N802
        self._streams += 1
        return FakeStream(self, f"stream {self._streams}")

    def Event(self, *, enable_timing: bool) -> FakeEvent:  # noqa: N802
        assert enable_timing
        return FakeEvent(self)

    def device(self, _: Any) -> Any:
        return nullcontext()

    def stream(self, stream: FakeStream) -> Any:
        self._current.stream = stream
        return nullcontext()

    def current_stream(self, _: Any) -> FakeStream:
        return self._current.stream


class FakeStream:
    def __init__(self, cuda: FakeCuda, name: str) -> None:
        self.cuda, self.name = cuda, name

    def wait_event(self, event: FakeEvent) -> None:
        self.cuda.told.append((self.name, "waits for", event.where))


class FakeEvent:
    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda, self.where, self.time = cuda, "", 0

    def record(self, stream: FakeStream) -> None:
        self.where, self.time = stream.name, len(self.cuda.told)
        self.cuda.told.append((stream.name, "event"))

    def elapsed_time(self, other: FakeEvent) -> float:
        return 1000.0 * (other.time - self.time)


def test_on_a_gpu_solves_follow_one_another_on_streams_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, frames = FakeCuda(), moving(3)
    monkeypatch.setattr(solving, "_cuda", cuda)
    solver = BatchSolver("cpu", SETTINGS)
    solver._turns = solving._GpuTurns(torch.device("cpu"))
    monkeypatch.setattr(
        solving, "tvl1_flow", lambda first, *_, **__: (cuda.told.append(("solve",)), torch.zeros(2, 2, 32, 40))[1]
    )

    def solve_twice() -> None:
        for _ in range(2):
            solver.solve(frames[:-1], frames[1:])

    for _ in range(2):  # two feeders, one after the other to know the order
        feeder = threading.Thread(target=solve_twice)
        feeder.start()
        feeder.join()
    one, two = "stream 1", "stream 2"
    turns = [[(name, "event"), ("solve",), (name, "event")] for name in (one, one, two, two)]
    waits = [[], [(one, "waits for", one)], [(two, "waits for", one)], [(two, "waits for", two)]]
    assert cuda.told == [told for wait, turn in zip(waits, turns, strict=True) for told in (*wait, *turn)]
    assert solver.busy_seconds == 4 * 2  # from its first event to its second, whatever came between


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_what_the_cpu_gives() -> None:
    frames = moving(9)
    solver = BatchSolver("cuda:0", SETTINGS)
    levels = [solver.solve(frames[:-1], frames[1:]) for _ in range(2)]
    np.testing.assert_array_equal(levels[0], levels[1])
    expected = BatchSolver("cpu", SETTINGS).solve(frames[:-1], frames[1:])
    assert np.abs(levels[0].astype(int) - expected).mean() < 0.5
    assert solver.busy_seconds > 0
