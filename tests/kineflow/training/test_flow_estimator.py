from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from kineflow.models.pwc_net import PWCNet
from kineflow.spec.quantise import quantise
from kineflow.storage.errors import KineflowError
from kineflow.training.flow_estimator import fit_estimator, level_errors
from kineflow.training.settings import OptimiserSettings

pytestmark = pytest.mark.slow

BOUND_PX = 20.0


def batch(px: tuple[float, float] = (3.0, -4.0), *, seed: int = 0, side: int = 64) -> dict[str, Tensor]:
    rng = np.random.default_rng(seed)
    motion = np.array(px).reshape(1, 2, 1, 1, 1) * np.ones((2, 1, 1, side, side))
    levels = np.concatenate([quantise(motion, BOUND_PX), np.full_like(quantise(motion, BOUND_PX), 255)], axis=2)
    frames = rng.integers(0, 256, (2, 3, 2, side, side), dtype=np.uint8)
    return {"rgb": torch.from_numpy(frames), "flow": torch.from_numpy(levels)}


def estimator(seed: int = 0) -> PWCNet:
    torch.manual_seed(seed)
    return PWCNet(0.125)


def answering(flow: tuple[float, float]) -> PWCNet:
    """An estimator that says the same at each level, px, whatever it sees."""
    made = estimator()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.startswith(("predict_flow", "dc_conv7")):
                parameter.zero_()
        for level in range(2, 7):
            made.get_submodule(f"predict_flow{level}").bias.copy_(torch.tensor(flow) / 20)
    return made


def test_each_level_errs_by_its_distance_from_the_first_field() -> None:
    errors = level_errors(answering((3.0, 0.0)), batch((3.0, -4.0)), bound_px=BOUND_PX)
    assert [error.item() for error in errors] == pytest.approx([4.0] * 5, abs=0.1)
    assert level_errors(answering((3.0, -4.0)), batch((3.0, -4.0)), bound_px=BOUND_PX)[-1] < 0.1


def test_it_learns_and_is_left_in_evaluation_mode() -> None:
    made = estimator()
    settings = OptimiserSettings(learning_rate=0.002, weight_decay=0.0)
    course = fit_estimator(
        made, (batch(seed=seed) for seed in range(30)), steps=25, settings=settings, bound_px=BOUND_PX
    )
    assert len(course) == 25
    assert np.mean(course[-5:]) < 0.6 * 5.0  # less than saying that nothing moves
    assert not made.training


def test_a_loss_that_is_no_number() -> None:
    made = answering((float("nan"), 0.0))
    with pytest.raises(KineflowError, match="became nan at step 0"):
        fit_estimator(made, [batch()], steps=1, settings=OptimiserSettings(), bound_px=BOUND_PX)


def test_gradients_are_clipped() -> None:
    made = estimator()
    settings = OptimiserSettings(
        name="sgd", learning_rate=1.0, momentum=0, weight_decay=0, warmup_ratio=0, clip_gradient_norm=1e-3
    )
    before = torch.nn.utils.parameters_to_vector(made.parameters())
    fit_estimator(made, [batch()], steps=1, settings=settings, bound_px=BOUND_PX)
    moved = torch.nn.utils.parameters_to_vector(made.parameters()) - before
    assert moved.norm().item() == pytest.approx(1e-3, rel=1e-2)
