"""The key that names the flow of a clip."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from kineflow.flow.extraction.settings import ExtractSettings
from kineflow.flow.settings import FlowSettings
from kineflow.spec.tvl1 import PRESETS
from kineflow.storage.errors import KineflowError


def test_batches_solvers_threads_and_devices_are_not_part_of_the_key() -> None:
    other = ExtractSettings(batch_pairs=99, solver="portable", workers=7, devices=("cuda:0", "cuda:1"))
    assert other.key("a") == ExtractSettings().key("a") != ExtractSettings().key("b")


@pytest.mark.parametrize(
    "changes",
    [{"tvl1": PRESETS["capped"]}, {"camera_motion": "removed"}, {"bound_px": 5.0}, {"crf": 0}, {"gop": 7}],
    ids=lambda changes: next(iter(changes)),
)
def test_all_that_changes_the_flow_is(changes: dict[str, Any]) -> None:
    assert dataclasses.replace(ExtractSettings(), **changes).key("a") != ExtractSettings().key("a")


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({}, "e866a7fdc8efd43f5e4e7b35641688c4"),
        ({"preset": "cuda"}, "5b9c37ec493b529325e858e65364d7df"),
        ({"preset": "capped", "tau": None}, "16e7083f0bac373b840e6802d2bd7073"),
        ({"preset": "fast", "solver": "portable", "workers": 3}, "73c3467d33b334154880b2154090dbff"),
        (
            {
                "preset": "fast",
                "tau": 0.2,
                "lambda_": 0.1,
                "camera_motion": "removed",
                "bound_px": 8,
                "crf": 0,
                "gop": 4,
            },
            "ca38905316e6bab71c699fc654f78894",
        ),
    ],
)
def test_equal_parameters_keep_their_key(section: dict[str, Any], key: str) -> None:
    """Or else every finished file of every user would be computed again; a new version of flow may change it."""
    settings = ExtractSettings.of(FlowSettings(device="cpu", **section))
    assert (settings.described()["format"], settings.key("0" * 64)) == (3, key)


@pytest.mark.parametrize(
    ("solver", "reason"),
    [("triton", "CUDA device"), ("cluster", "NVIDIA GPU"), ("fused", "gamma")],
)
def test_a_solver_that_cannot_run_here_is_refused(solver: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if solver == "triton":  # the tests of its kernels may have set this process to interpret them
        kernels = pytest.importorskip("kineflow.flow.solvers.triton_kernels")
        monkeypatch.setattr(kernels, "interpreted", lambda: False)
    section = FlowSettings(device="cpu", solver=solver, gamma=1.0 if solver == "fused" else 0.0)
    with pytest.raises(KineflowError, match=f"flow.solver: the solver '{solver}' cannot: .*{reason}"):
        ExtractSettings.of(section)
