from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor

from kineflow.models.flow_decoder import create_decoder
from kineflow.models.registry import create_model
from kineflow.models.stages import features_at
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.quantise import dequantise, quantise
from kineflow.storage.errors import KineflowError
from kineflow.training.motion_probe import (
    MotionProbe,
    end_point_errors,
    fit_decoders,
    flow_px,
    flow_target,
)
from kineflow.training.settings import OptimiserSettings

pytestmark = pytest.mark.slow

BOUND_PX = 20.0
STEP_PX = 2 * BOUND_PX / 255
FAST = OptimiserSettings(learning_rate=0.003, weight_decay=0.0)

Build = Callable[..., MotionProbe]


@pytest.fixture
def probe(rgb: Preprocessing, flow: Preprocessing) -> Build:
    """A probe of a narrow S3D-G with random weights."""

    def build(
        modality: str = "rgb", *, stage: str = "Mixed3b", decoder: Any = "spatial", loss: Any = "end_point"
    ) -> MotionProbe:
        torch.manual_seed(0)
        preprocessing = {"rgb": rgb, "flow": flow}[modality]
        network = create_model(
            "s3d_g", num_classes=3, in_channels=len(preprocessing.mean), width=0.125, stem_spatial_stride=1
        )
        return MotionProbe(network, preprocessing, stage=stage, decoder=decoder, bound_px=BOUND_PX, loss=loss)

    return build


def batch(seed: int = 0, *, clips: int = 4, frames: int = 4, side: int = 8) -> dict[str, Tensor]:
    """Noise that moves as a whole, each clip in a direction of its own."""
    rng = np.random.default_rng(seed)
    motion = rng.uniform(-4, 4, (clips, 2, 1, 1, 1)) * np.ones((1, 1, frames, side, side))
    return {
        "rgb": torch.from_numpy(rng.integers(0, 256, (clips, 3, frames, side, side), dtype=np.uint8)),
        "flow": torch.from_numpy(quantise(motion, BOUND_PX)),
        "label": torch.zeros(clips, dtype=torch.int64),
    }


def weights(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


class TestFlowOfLevels:
    def test_still_pixels_are_still_and_stay_so_when_they_are_mirrored(self) -> None:
        still = torch.from_numpy(quantise(np.zeros((2, 3)), BOUND_PX))
        assert (still == 128).all()
        assert (flow_px(still, BOUND_PX) == 0).all()
        assert (flow_px(255 - still, BOUND_PX) == 0).all()

    def test_other_levels_are_those_of_the_flow_set(self) -> None:
        levels = np.delete(np.arange(256, dtype=np.uint8), [127, 128])
        np.testing.assert_allclose(flow_px(torch.from_numpy(levels), BOUND_PX), dequantise(levels, BOUND_PX), rtol=1e-5)

    def test_mirrored_levels_are_opposite_flow(self) -> None:
        levels = torch.arange(256, dtype=torch.uint8)
        torch.testing.assert_close(flow_px(255 - levels, BOUND_PX), -flow_px(levels, BOUND_PX), atol=1e-5, rtol=0)

    @given(st.floats(-BOUND_PX, BOUND_PX))
    def test_motion_errs_by_half_a_step_and_slow_motion_by_one(self, px: float) -> None:
        level = torch.from_numpy(quantise(np.array([px]), BOUND_PX))
        error = abs(flow_px(level, BOUND_PX).item() - px)
        assert error <= (STEP_PX if abs(px) <= STEP_PX else STEP_PX / 2) + 1e-5


class TestTarget:
    @given(st.integers(0, 255), st.integers(1, 3), st.integers(1, 5), st.integers(1, 5))
    @examples(deadline=None, max_examples=25)
    def test_uniform_flow_keeps_its_magnitude_at_every_resolution(self, level: int, t: int, h: int, w: int) -> None:
        levels = torch.full((1, 2, 4, 6, 6), level, dtype=torch.uint8)
        target = flow_target(levels, (t, h, w), bound_px=BOUND_PX)
        assert target.shape == (1, 2, t, h, w)
        expected = flow_px(levels, BOUND_PX)[0, 0, 0, 0, 0].expand_as(target)
        torch.testing.assert_close(target, expected, atol=1e-5, rtol=0)

    def test_a_time_step_is_the_mean_of_its_fields(self) -> None:
        levels = torch.randint(256, (2, 2, 8, 3, 3), dtype=torch.uint8)
        px = flow_px(levels, BOUND_PX)
        target = flow_target(levels, (4, 3, 3), bound_px=BOUND_PX)
        torch.testing.assert_close(target, (px[:, :, 0::2] + px[:, :, 1::2]) / 2)

    def test_space_is_resized_bilinearly(self) -> None:
        px = torch.zeros(1, 2, 1, 4, 4)
        px[0, 0, 0] = 10 * torch.arange(4.0)  # u grows by a level of 10 px from column to column
        levels = torch.from_numpy(quantise(px.numpy() - 15, BOUND_PX))
        target = flow_target(levels, (1, 2, 2), bound_px=BOUND_PX)
        torch.testing.assert_close(target[0, 0, 0, 0], torch.tensor([-10.0, 10.0]), atol=STEP_PX, rtol=0)

    def test_end_point_errors_are_lengths_and_have_finite_gradients(self) -> None:
        decoded = torch.tensor([3.0, 0.0, 5.0, 0.0]).view(1, 2, 2, 1, 1).requires_grad_()  # (3, 5) and (0, 0)
        target = torch.tensor([0.0, 0.0, 1.0, 0.0]).view(1, 2, 2, 1, 1)
        errors = end_point_errors(decoded, target)
        assert errors.flatten().tolist() == [5.0, 0.0]
        errors.sum().backward()
        assert decoded.grad is not None
        torch.testing.assert_close(decoded.grad.flatten(), torch.tensor([0.6, 0.0, 0.8, 0.0]))


class TestMotionProbe:
    def test_features_are_those_of_the_stage_and_the_decoder_answers_at_their_size(self, probe: Build) -> None:
        task, clips = probe(stage="Mixed3b"), batch()
        features = task.inputs(clips)
        normalised = (clips["rgb"].float() - 128) / 64
        torch.testing.assert_close(features, features_at(task.backbone, normalised, "Mixed3b"))
        decoded, target = task.decode(clips)
        assert decoded.shape == target.shape == (4, 2, *features.shape[2:])

    def test_at_first_its_error_is_the_mean_magnitude_of_the_flow(self, probe: Build) -> None:
        task, clips = probe(), batch()
        expected = torch.linalg.vector_norm(
            flow_px(clips["flow"], BOUND_PX), dim=1
        ).mean()  # uniform: at any resolution
        losses = task.loss(clips)
        torch.testing.assert_close(losses["loss"], expected)
        torch.testing.assert_close(losses["end_point_error"], expected)
        assert not losses["end_point_error"].requires_grad

    def test_l1_adds_both_components(self, probe: Build) -> None:
        task, clips = probe(loss="l1"), batch()
        losses = task.loss(clips)
        torch.testing.assert_close(losses["loss"], flow_px(clips["flow"], BOUND_PX).abs().sum(dim=1).mean())
        assert losses["end_point_error"] < losses["loss"]

    def test_only_the_decoder_learns(self, probe: Build) -> None:
        task = probe()
        frozen, learnt = weights(task.backbone), weights(task.network)
        fit_decoders([task], [batch(seed) for seed in range(3)], steps=3, settings=FAST)
        assert all(p.grad is None and not p.requires_grad for p in task.backbone.parameters())
        assert all(torch.equal(value, frozen[name]) for name, value in task.backbone.state_dict().items())
        assert not all(torch.equal(value, learnt[name]) for name, value in task.network.state_dict().items())

    def test_the_backbone_stays_in_evaluation_mode(self, probe: Build) -> None:
        task = probe()
        assert task.train() is task
        assert task.network.training
        assert not any(module.training for module in task.backbone.modules())

    def test_a_network_that_sees_flow_gives_it_back(self, probe: Build) -> None:
        task = probe("flow", stage="Conv2b")
        errors = fit_decoders([task], [batch(seed, clips=8) for seed in range(60)], steps=60, settings=FAST)[0]
        with torch.no_grad():
            final = task.loss(batch(99, clips=16))["end_point_error"]
        assert final < 0.5 * errors[0]  # before the first step, nothing moved

    def test_noise_tells_nothing_of_motion(self, probe: Build) -> None:
        """The frames of these clips are unrelated: what would be decoded from them would be a leak of the target."""
        task = probe("rgb", stage="Conv2b")
        fit_decoders([task], [batch(seed, clips=8) for seed in range(60)], steps=60, settings=FAST)
        with torch.no_grad():
            final = task.loss(batch(99, clips=16))["end_point_error"]
        assert final > 0.8 * torch.linalg.vector_norm(flow_px(batch(99, clips=16)["flow"], BOUND_PX), dim=1).mean()


@pytest.mark.parametrize(
    ("name", "learning_rate", "steps"), [("simple", 0.1, 100), ("spatial", 0.001, 100), ("pwc", 0.001, 50)]
)
def test_decoders_learn_a_flow_that_lies_in_the_features(name: Any, learning_rate: float, steps: int) -> None:
    torch.manual_seed(0)
    decoder, mix = create_decoder(name, 6), torch.randn(6, 2) / 3
    optimiser = torch.optim.Adam(decoder.parameters(), lr=learning_rate)
    for step in range(steps):
        target = flow_target(batch(step, side=4, frames=2)["flow"], (2, 4, 4), bound_px=BOUND_PX)
        features = torch.einsum("fc,bcthw->bfthw", mix, target)
        error = end_point_errors(decoder(features), target).mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
    assert error < 0.25 * torch.linalg.vector_norm(target, dim=1).mean()


class TestFitDecoder:
    def test_batches_that_run_out(self, probe: Build) -> None:
        with pytest.raises(KineflowError, match="2 batches for 3 steps"):
            fit_decoders([probe()], [batch(), batch()], steps=3, settings=FAST)

    def test_a_loss_that_is_no_number(self, probe: Build) -> None:
        task = probe()
        with torch.no_grad():
            next(task.network.parameters()).fill_(float("nan"))
        with pytest.raises(KineflowError, match="became nan at step 0"):
            fit_decoders([task], [batch()], steps=1, settings=FAST)

    def test_it_ends_in_evaluation_mode_with_an_error_for_each_step(self, probe: Build) -> None:
        task = probe()
        errors = fit_decoders([task], (batch(seed) for seed in range(9)), steps=2, settings=FAST)[0]
        assert len(errors) == 2
        assert not task.network.training

    def test_gradients_are_clipped_and_the_schedule_is_followed(self, probe: Build) -> None:
        settings = OptimiserSettings(
            name="sgd",
            learning_rate=1.0,
            momentum=0,
            weight_decay=0,
            warmup_ratio=0,
            schedule="steps",
            milestones=(0.5,),
            clip_gradient_norm=1e-3,
        )
        task = probe(decoder="simple")
        before = torch.nn.utils.parameters_to_vector(task.network.parameters())
        fit_decoders([task], [batch(), batch()], steps=2, settings=settings)
        moved = torch.nn.utils.parameters_to_vector(task.network.parameters()) - before
        assert moved.norm().item() == pytest.approx(1.1e-3, rel=1e-2)  # a whole step, and a tenth of one


class TestSeveralProbesOfOneNetwork:
    SITES = (("Conv2b", "simple"), ("Mixed3b", "spatial"), ("Mixed3b", "simple"))

    def probes(self, build: Build) -> list[MotionProbe]:
        made = [build(stage=stage, decoder=decoder) for stage, decoder in self.SITES]
        for probe in made[1:]:
            probe.backbone = made[0].backbone  # all are of one seed
        return made

    def test_each_learns_as_it_would_alone(self, probe: Build) -> None:
        settings = OptimiserSettings(learning_rate=0.003, weight_decay=0.0, clip_gradient_norm=0.01)
        together = self.probes(probe)
        courses = fit_decoders(together, [batch(seed) for seed in range(3)], steps=3, settings=settings)
        for made, course, (stage, decoder) in zip(together, courses, self.SITES, strict=True):
            alone = probe(stage=stage, decoder=decoder)
            assert course == fit_decoders([alone], [batch(seed) for seed in range(3)], steps=3, settings=settings)[0]
            for mine, own in zip(made.network.parameters(), alone.network.parameters(), strict=True):
                assert torch.equal(mine, own)
            assert not made.training

    def test_the_network_sees_each_batch_once(self, probe: Build) -> None:
        made = self.probes(probe)
        passes: list[object] = []
        made[0].backbone.get_submodule("features.0").register_forward_hook(lambda *_: passes.append(None))
        fit_decoders(made, [batch(), batch()], steps=2, settings=FAST)
        assert len(passes) == 2

    def test_probes_of_other_networks_are_refused(self, probe: Build) -> None:
        with pytest.raises(KineflowError, match="several networks"):
            fit_decoders([probe(), probe()], [batch()], steps=1, settings=FAST)
