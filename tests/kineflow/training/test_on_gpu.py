"""What training does on a GPU alone, against the same on it without: copies ahead, losses read late, CUDA graphs."""

import pytest
import torch

from kineflow.storage.errors import KineflowError
from kineflow.training.device_batches import device_batches
from kineflow.training.settings import RunSettings
from kineflow.training.tasks import Classification
from kineflow.training.trainer import Trainer

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")]
STEPS = 6
GPU = torch.device("cuda", 0)


def batches(count: int = STEPS) -> list[dict[str, torch.Tensor]]:
    rng = torch.Generator().manual_seed(0)
    return [
        {
            "rgb": torch.randint(0, 256, (4, 3, 4, 32, 32), dtype=torch.uint8, generator=rng).pin_memory(),
            "label": torch.tensor([0, 1, 2, number % 3 - 1]),
        }
        for number in range(count)
    ]


def losses(tiny_network, rgb, *, read_every: int | None = None, broken_at: int | None = None, **changes) -> list[float]:
    run = RunSettings(steps=STEPS, validate_every_steps=STEPS, batch_size=4, precision="32", **changes)
    trainer = Trainer(Classification(tiny_network(), rgb), run, seed=0, device=GPU, read_every=read_every)
    for step, batch in enumerate(device_batches(batches(), GPU)):
        if step == broken_at:
            torch.nn.init.constant_(trainer.task.network.conv.weight, float("nan"))
        trainer.step(batch)
    return [row["loss"] for row in trainer.take_losses()]


def test_batches_come_whole_and_in_order():
    arrived = list(device_batches(batches(), GPU))
    assert len(arrived) == STEPS
    for given, moved in zip(batches(), arrived, strict=True):
        assert moved["rgb"].device == GPU
        assert torch.equal(moved["rgb"].cpu(), given["rgb"])


def test_losses_that_are_read_late_are_the_same(tiny_network, rgb):
    assert losses(tiny_network, rgb) == pytest.approx(losses(tiny_network, rgb, read_every=1), rel=1e-5)


def test_no_step_waits_for_the_gpu(tiny_network, rgb):
    run = RunSettings(steps=STEPS, validate_every_steps=STEPS, batch_size=4)
    trainer = Trainer(Classification(tiny_network(), rgb), run, seed=0, device=GPU)
    given = batches()
    trainer.step(given[0])  # the first one sets up libraries
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in device_batches(given[1:], GPU):
            trainer.step(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_loss_that_is_not_finite_is_named_by_its_step(tiny_network, rgb):
    with pytest.raises(KineflowError, match="became nan at step 2"):
        losses(tiny_network, rgb, broken_at=2)


@pytest.mark.slow
@pytest.mark.parametrize("compile", ["on", "graphs"])
@pytest.mark.parametrize("deterministic", [True, False])
def test_a_compiled_training_is_that_of_an_eager_one(tiny_network, rgb, compile, deterministic):
    eager = losses(tiny_network, rgb)
    assert losses(tiny_network, rgb, compile=compile, deterministic=deterministic) == pytest.approx(eager, abs=1e-3)
