"""Flow in 8 bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kineflow.spec.quantise import dequantise, quantise, quantise_tensor
from kineflow.storage.errors import KineflowError

bounds = st.floats(0.1, 100)


@given(bound_px=bounds, part=st.floats(-1, 1))
def test_round_trip_errs_by_half_a_step_at_most(bound_px: float, part: float) -> None:
    flow = np.array([part * bound_px])
    error = np.abs(dequantise(quantise(flow, bound_px), bound_px) - flow)
    assert error <= bound_px / 255 * (1 + 1e-3)


@given(bound_px=bounds, level=st.integers(0, 255))
def test_levels_survive(bound_px: float, level: int) -> None:
    levels = np.array([level], dtype=np.uint8)
    assert quantise(dequantise(levels, bound_px), bound_px) == level


@given(bound_px=bounds, beyond=st.floats(1, 1e6))
def test_flow_beyond_the_bound_is_clipped(bound_px: float, beyond: float) -> None:
    flow = np.array([beyond, -beyond], dtype=np.float32) * np.float32(bound_px)
    np.testing.assert_array_equal(quantise(flow, bound_px), [255, 0])


def test_published_levels() -> None:
    levels = quantise(np.array([-20.0, -10.0, 0.0, 20.0]), 20.0)
    assert levels.tolist() == [0, 64, 128, 255]
    assert levels.dtype == np.uint8
    assert dequantise(levels, 20.0).dtype == np.float32


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1000), st.floats(0.001, 3))
def test_tensors_as_arrays(seed: int, bound_px: float, spread: float) -> None:
    flow = np.random.default_rng(seed).normal(0, spread * bound_px, (3, 2, 5, 4)).astype(np.float32)
    quantised = quantise_tensor(torch.from_numpy(flow), bound_px)
    np.testing.assert_array_equal(quantised.numpy(), quantise(flow, bound_px))


@pytest.mark.parametrize("bound_px", [0.0, -1.0, float("nan")])
def test_refuses_an_impossible_bound(bound_px: float) -> None:
    with pytest.raises(KineflowError, match="bound"):
        quantise(np.zeros(1), bound_px)
    with pytest.raises(KineflowError, match="bound"):
        dequantise(np.zeros(1, np.uint8), bound_px)
