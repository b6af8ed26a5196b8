from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from kineflow.evaluation.motion_probe import ProbeErrors
from kineflow.evaluation.probe_results import (
    Probed,
    Probing,
    load_errors,
    probe_metrics,
    save_errors,
    write_probing,
)
from kineflow.storage.errors import KineflowError

STILL = np.array([3.0, 1.0, 2.0])
SITES = (("Conv2c", "simple"), ("Mixed3c", "simple"))


def errors(*less: float) -> dict[tuple[str, str], ProbeErrors]:
    """Below those of no motion by this much, at each stage."""
    return {site: ProbeErrors(STILL - by, STILL) for site, by in zip(SITES, less, strict=True)}


def probing(**changes: object) -> Probing:
    networks = (
        Probed("plain", "rgb", errors(0.25, 0.5), "untrained-rgb"),
        Probed("student", "rgb", errors(0.5, 0.75), "untrained-rgb"),
        Probed("untrained-rgb", "rgb", errors(0.125, 0.0)),
    )
    given = {"networks": networks, "clip_ids": ("a", "b", "c"), "split": "test", "student": "student"}
    return Probing(**{**given, "baseline": "plain", **changes})  # type: ignore[arg-type]


def test_a_network_is_compared_with_no_motion_an_untrained_one_and_the_baseline() -> None:
    summary = probing().summary("student", ("Mixed3c", "simple"))
    assert summary.error.value == 2 - 0.75
    gains = (summary.gain_over_still, summary.gain_over_untrained, summary.gain_over_baseline)
    assert [gain.value for gain in gains if gain] == [0.75, 0.75, 0.25]
    assert probing().summary("plain", SITES[0]).gain_over_baseline is None  # it is the baseline
    untrained = probing().summary("untrained-rgb", SITES[0])
    assert (untrained.gain_over_untrained, untrained.gain_over_baseline) == (None, None)
    assert probing(baseline=None).summary("student", SITES[0]).gain_over_baseline is None


def test_the_overall_gain_is_the_mean_over_stages_and_decoders() -> None:
    uneven = errors(0.5, 0.75)
    uneven[SITES[0]] = ProbeErrors(STILL - np.array([0.25, 0.5, 0.75]), STILL)
    networks = (probing().networks[0], Probed("student", "rgb", uneven, "untrained-rgb"), probing().networks[2])
    gain = probing(networks=networks).overall_gain("student")
    assert gain is not None
    per_clip = (np.array([0.0, 0.25, 0.5]) + 0.25) / 2
    half = 1.959964 * per_clip.std(ddof=1) / 3**0.5
    assert (gain.value, gain.low, gain.high) == pytest.approx(
        (per_clip.mean(), per_clip.mean() - half, per_clip.mean() + half)
    )
    assert probing().overall_gain("plain") is None
    assert probing(baseline=None).overall_gain("student") is None


def test_flat_metrics_are_errors_by_name() -> None:
    assert probe_metrics(probing())["student/Mixed3c/simple"] == 1.25
    assert len(probe_metrics(probing())) == 3 * 2


def test_the_folder_holds_figures_a_table_and_every_error(tmp_path: Path) -> None:
    write_probing(tmp_path, probing(), facts={"version": "v"})
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["data"] == {"split": "test", "clips": 3, "version": "v"}
    assert metrics["student"]["Conv2c"]["simple"]["gain_over_untrained"] == 0.375
    assert metrics["student"]["Conv2c"]["simple"]["still"] == 2.0
    assert metrics["plain"]["Conv2c"]["simple"]["gain_over_baseline"] is None
    with (tmp_path / "probes.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3 * 2
    last = rows[3]
    assert (last["network"], last["stage"], last["decoder"], last["clips"]) == ("student", "Mixed3c", "simple", "3")
    assert (float(last["error"]), float(last["gain_over_baseline"])) == (1.25, 0.25)
    assert rows[0]["gain_over_baseline"] == ""
    clips, found = load_errors(tmp_path / "errors" / "student.parquet")
    assert clips == ("a", "b", "c")
    assert list(found) == list(SITES)
    np.testing.assert_array_equal(found[SITES[1]].decoded, STILL - 0.75)
    np.testing.assert_array_equal(found[SITES[1]].still, STILL)


def test_the_interval_of_a_single_clip_has_no_ends(tmp_path: Path) -> None:
    one = {SITES[0]: ProbeErrors(np.array([1.0]), np.array([2.0]))}
    alone = Probed("m", "rgb", one, "u"), Probed("u", "rgb", one)
    write_probing(tmp_path, Probing(alone, ("a",), "test", "m"), facts={})
    figures = json.loads((tmp_path / "metrics.json").read_text())["m"]["Conv2c"]["simple"]
    assert (figures["error"], figures["error_low"], figures["error_high"]) == (1.0, None, None)


@pytest.mark.parametrize("changes", [{"student": "other"}, {"baseline": "other"}])
def test_unknown_names(changes: dict[str, str]) -> None:
    with pytest.raises(KineflowError, match="unknown network 'other'"):
        probing(**changes)


def test_double_names() -> None:
    with pytest.raises(KineflowError, match="several models are named 'plain'"):
        probing(networks=(probing().networks[0], probing().networks[0], probing().networks[2]), student="plain")


def test_files_that_are_none_of_these(tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match="no readable errors"):
        load_errors(tmp_path / "gone.parquet")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    with pytest.raises(KineflowError, match="no readable errors"):
        load_errors(tmp_path / "torn.parquet")
    save_errors(tmp_path / "empty.parquet", (), {})
    with pytest.raises(KineflowError, match="no readable errors"):
        load_errors(tmp_path / "empty.parquet")
