"""How well a bound fits the flow that was stored under it."""

from __future__ import annotations

import numpy as np
import pytest

from kineflow.flow.magnitudes import flow_magnitudes
from kineflow.sets.flow_file import write_flow
from kineflow.sets.flow_set import FlowEntry, FlowSet
from kineflow.spec.quantise import quantise
from kineflow.spec.status import Status


def stored(folder, speed_px, *, bound_px=20.0):
    """Still flow of which the left quarter moves to the right."""
    flow = np.zeros((4, 32, 64, 2), np.float32)
    flow[:, :, :16, 0] = speed_px
    write_flow(folder / "a.mp4", quantise(flow, bound_px))
    entries = {
        "a": FlowEntry("a", "a.mp4", 4, 64, 32, Status.OK, ""),
        "gone": FlowEntry("gone", "gone.mp4", 4, 64, 32, Status.OK, ""),
    }
    return flow_magnitudes(FlowSet(bound_px, entries, str(folder)))


@pytest.mark.parametrize(
    ("speed_px", "clipped", "words"),
    [(30.0, 0.25, "raise bound_px"), (8.0, 0, "under a step of the 8 bits"), (0.8, 0, "would keep slow motion")],
)
def test_what_is_clipped_and_what_is_rounded_away(tmp_path, speed_px, clipped, words):
    found = stored(tmp_path, speed_px)
    assert found.clipped_share == pytest.approx(clipped, abs=0.03)
    assert found.still_share == pytest.approx(0.75, abs=0.06)
    assert found.p99_px == pytest.approx(min(speed_px, 20), abs=0.4)
    assert words in str(found)
    assert ("bound_px" in str(found)) is (speed_px != 8.0)


def test_no_flow_has_no_speed(tmp_path):
    assert flow_magnitudes(FlowSet(20.0, {}, str(tmp_path))) is None
