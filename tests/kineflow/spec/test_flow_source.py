import dataclasses
from pathlib import Path

import pytest

from kineflow.flow.extraction.settings import ExtractSettings
from kineflow.sets.flow_set import FlowSet
from kineflow.spec.flow_source import FlowSource
from kineflow.spec.tvl1 import PRESETS, TVL1Params
from kineflow.storage.errors import KineflowError


@pytest.mark.parametrize("preset", PRESETS)
def test_of_a_flow_set_is_how_it_was_extracted(preset: str, tmp_path: Path) -> None:
    settings = ExtractSettings(tvl1=PRESETS[preset], camera_motion="removed", bound_px=8.0)
    FlowSet(8.0, {}, str(tmp_path / "media"), settings.described() | {"shard": {"index": 0}}).save(tmp_path)
    source = FlowSource.of(FlowSet.load(tmp_path).params, bound_px=8.0, short_side=240)
    assert source.params == PRESETS[preset]
    assert dataclasses.replace(source, tvl1={}) == FlowSource(
        bound_px=8.0, camera_motion="removed", short_side=240
    )  # fmt: skip


@pytest.mark.parametrize(
    "told",
    [{}, {"algorithm": "unknown", "layout": "jpeg"}, ExtractSettings().described() | {"format": 1}],
    ids=["nothing", "another tool", "an earlier version"],
)
def test_flow_of_another_making_cannot_be_repeated(told: dict[str, object]) -> None:
    assert FlowSource.of(told, bound_px=20.0, short_side=256) is None


def test_nothing_told_of_the_algorithm_is_opencv() -> None:
    assert FlowSource().params == TVL1Params()


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"tvl1": {"lambda": 0.15}}, "TV-L1.lambda: unknown key"),
        ({"tvl1": {"scales": "five"}}, "TV-L1.scales: .* not 'five'"),
        ({"tvl1": {"tau": 0.0}}, "TV-L1.tau: .*greater than 0"),
        ({"bound_px": 0.0}, "bounded by 0.0 px"),
        ({"bound_px": float("nan")}, "bounded by nan px"),
        ({"short_side": 1}, "short side of 1 px"),
    ],
)
def test_impossible_values_are_named(values: dict[str, object], problem: str) -> None:
    with pytest.raises(KineflowError, match=problem):
        FlowSource(**values)
