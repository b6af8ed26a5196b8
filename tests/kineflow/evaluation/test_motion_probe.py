from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from kineflow.data.batch_sampler import BatchSampler, Pool
from kineflow.data.dataset import ClipDataset, Geometry
from kineflow.evaluation.fusion import fuse
from kineflow.evaluation.motion_probe import ProbeErrors, errors_of_each, mean_over_clips, summarise_probe
from kineflow.evaluation.scores import Scores
from kineflow.models.registry import create_model
from kineflow.sets.clip_set import ClipSet
from kineflow.sets.flow_set import FlowSet
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.quantise import quantise
from kineflow.spec.sampling import ClipSpec
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.training.motion_probe import MotionProbe, fit_decoders, flow_px
from kineflow.training.settings import OptimiserSettings

pytestmark = pytest.mark.slow

BOUND_PX = 20.0


class Clips(torch.utils.data.Dataset):
    """Flow alone, uniform in each clip, and slower from clip to clip."""

    def __init__(self, count: int, *, seed: int = 0) -> None:
        motion = np.random.default_rng(seed).uniform(-6, 6, (count, 2, 1, 1, 1)) * np.ones((1, 1, 4, 8, 8))
        self.levels = torch.from_numpy(quantise(motion, BOUND_PX))

    def __len__(self) -> int:
        return len(self.levels)

    def __getitem__(self, key: int) -> dict[str, Tensor]:
        return {"flow": self.levels[key], "label": torch.tensor(-1)}


def probe() -> MotionProbe:
    torch.manual_seed(0)
    network = create_model("s3d", num_classes=3, in_channels=2, width=0.125, stem_spatial_stride=1)
    flow = Preprocessing("flow", 4, 1, 8, 8, mean=(128.0,) * 2, std=(32.0,) * 2)
    return MotionProbe(network, flow, stage="Conv2b", decoder="simple", bound_px=BOUND_PX)


def errors_of(probe: MotionProbe, clips: Any, batch_size: int) -> ProbeErrors:
    return errors_of_each([probe], clips, batch_size=batch_size)[0]


def test_predicting_no_motion_errs_by_the_mean_magnitude_of_the_flow() -> None:
    clips = Clips(5)
    errors = errors_of(probe(), clips, 2)
    magnitudes = torch.linalg.vector_norm(flow_px(clips.levels, BOUND_PX), dim=1).mean(dim=(1, 2, 3))
    np.testing.assert_allclose(errors.still, magnitudes, rtol=1e-5)
    np.testing.assert_array_equal(errors.decoded, errors.still)  # a new decoder says that nothing moves


def test_errors_are_those_of_each_clip_however_they_are_batched() -> None:
    trained, clips = probe(), Clips(5)
    batches = [{"flow": Clips(8, seed=seed).levels} for seed in range(40)]
    fit_decoders([trained], batches, steps=40, settings=OptimiserSettings(learning_rate=0.1))
    trained.train()
    together, alone = (errors_of(trained, clips, size) for size in (5, 1))
    np.testing.assert_allclose(together.decoded, alone.decoded, rtol=1e-4)
    assert not trained.training
    single = trained.loss({"flow": clips.levels[3:4]})["end_point_error"]
    assert together.decoded[3] == pytest.approx(single.item(), rel=1e-4)
    assert together.decoded.mean() < 0.7 * together.still.mean()


def test_several_probes_are_measured_as_each_alone() -> None:
    first, second, clips = probe(), probe(), Clips(5)
    second.backbone = first.backbone
    fit_decoders([second], [{"flow": Clips(8).levels}], steps=1, settings=OptimiserSettings(learning_rate=0.1))
    both = errors_of_each([first, second], clips, batch_size=2)
    for errors, made in zip(both, (first, second), strict=True):
        alone = errors_of(made, clips, 2)
        np.testing.assert_array_equal(errors.decoded, alone.decoded)
        np.testing.assert_array_equal(errors.still, alone.still)
    assert not np.array_equal(both[0].decoded, both[1].decoded)


def test_clips_of_a_clip_set_and_a_flow_set(tiny_data) -> None:
    clip_set, flow_set = ClipSet.load(tiny_data.clips), FlowSet.load(tiny_data.flow)
    clips = ClipDataset(
        clip_set,
        clip_set.usable(Split.UNLABELLED),
        modalities=("rgb", "flow"),
        flow_set=flow_set,
        geometry=Geometry(ClipSpec(4), short_side=16, crop=8),
    )
    torch.manual_seed(0)
    rgb = Preprocessing("rgb", 4, 1, 16, 8, mean=(128.0,) * 3, std=(64.0,) * 3)
    network = create_model("s3d_g", num_classes=0, width=0.125)
    task = MotionProbe(network, rgb, stage="Mixed3b", decoder="pwc", bound_px=flow_set.bound_px)
    batches = DataLoader(clips, batch_sampler=BatchSampler([Pool((0, 1, 2, 3), 2)], steps=3, seed=0))
    assert len(fit_decoders([task], batches, steps=3, settings=OptimiserSettings(learning_rate=1e-4))[0]) == 3
    summary = summarise_probe(errors_of(task, clips, 3))
    assert summary.clips == 4
    assert 0 < summary.error.value < 1.5 * summary.still.value


def test_the_summary_compares_clip_by_clip() -> None:
    still = np.array([3.0, 5.0, 1.0, 7.0])
    summary = summarise_probe(
        ProbeErrors(decoded=still - 1.0, still=still), untrained=ProbeErrors(decoded=still - 0.5, still=still)
    )
    assert summary.clips == 4
    assert (summary.error.value, summary.still.value) == (3.0, 4.0)
    assert dataclasses.astuple(summary.gain_over_still) == (1.0, 1.0, 1.0)  # the same in every clip: certain
    assert summary.gain_over_untrained is not None
    assert dataclasses.astuple(summary.gain_over_untrained) == (0.5, 0.5, 0.5)
    assert summary.error.low < 3.0 < summary.error.high
    alone = summarise_probe(ProbeErrors(still, still))
    assert alone.gain_over_untrained is None
    assert alone.gain_over_baseline is None
    worse = summarise_probe(ProbeErrors(still, still), baseline=ProbeErrors(still - 0.25, still))
    assert worse.gain_over_baseline is not None
    assert worse.gain_over_baseline.value == -0.25


def test_other_clips_cannot_be_compared() -> None:
    with pytest.raises(KineflowError, match="different clips"):
        summarise_probe(ProbeErrors(np.ones(3), np.ones(3)), untrained=ProbeErrors(np.ones(3), np.full(3, 2.0)))


def test_the_interval_is_that_of_a_mean() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0])
    mean = mean_over_clips(values)
    half = 1.959964 * values.std(ddof=1) / 2
    assert dataclasses.astuple(mean) == pytest.approx((2.5, 2.5 - half, 2.5 + half))


def test_it_holds_its_level() -> None:
    rng = np.random.default_rng(0)
    means = [mean_over_clips(rng.exponential(2.0, 200)) for _ in range(500)]
    assert 0.92 < np.mean([mean.low <= 2.0 <= mean.high for mean in means]) < 0.98


def test_one_clip_says_nothing_of_others_and_no_clip_nothing_at_all() -> None:
    assert dataclasses.astuple(mean_over_clips(np.array([2.0]))) == (2.0, -math.inf, math.inf)
    with pytest.raises(KineflowError, match="on no clip"):
        mean_over_clips(np.zeros(0))


def test_d3d_with_s3d_g_is_fusion_of_their_scores() -> None:
    """The ensemble of D3D's tables needs nothing of its own: the mean of two softmaxes."""
    d3d, s3d_g = (
        Scores(name, ("a", "b"), np.array([0, 1]), ("x", "y"), np.array(logits, dtype=np.float32), "test")
        for name, logits in (("d3d", [[2, 0], [0, 1]]), ("s3d_g", [[0, 1], [0, 3]]))
    )
    expected = (d3d.probabilities() + s3d_g.probabilities()) / 2
    np.testing.assert_allclose(fuse([d3d, s3d_g]).probabilities(), expected, atol=1e-6)
