"""What a run takes: by the clock of an idle machine, and in CPU time, which a busy one takes too."""

from __future__ import annotations

import pytest

from kineflow.survey.costs import Costs
from kineflow.survey.estimate import Estimate, Volume, before_training, choosing, training
from kineflow.survey.machine import Machine
from kineflow.survey.rules import Steps

COSTS = Costs(ingest_cpu_sec=0.1, flow_cpu_sec=2.0, step_sec=0.5, window_cpu_sec=0.4)


@pytest.mark.parametrize("cores", [1, 4])
def test_cores_share_the_cpu_time_of_all_but_the_fits(cores: int) -> None:
    machine = Machine(cores, 16_000)
    parts = (*before_training(COSTS, Volume(100, 10), machine), *choosing(COSTS, 50, False, machine, nested=True))
    described_and_solved, fits = 100 * 0.1 + 10 * 2.0 + 50 * 0.4, 50 * 0.02
    assert Estimate(parts, 0).cpu_seconds == pytest.approx(described_and_solved + fits)
    assert Estimate(parts, 0).seconds == pytest.approx(described_and_solved / cores + fits)
    trained = Estimate(training(0.5, Steps(10, 20, 5), machine, taught=2), 0)
    assert trained.cpu_seconds == pytest.approx(trained.seconds * cores)
