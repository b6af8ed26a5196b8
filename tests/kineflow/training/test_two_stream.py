from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kineflow.models.st_resnet import StreamScores, STResNet, st_resnet
from kineflow.spec.preprocessing import Preprocessing
from kineflow.storage.errors import KineflowError
from kineflow.training.tasks import Batch
from kineflow.training.two_stream import TwoStream, stream_losses

FIELDS = 2


def scores(clips: int, steps: int, classes: int, seed: int = 0) -> StreamScores:
    generator = torch.Generator().manual_seed(seed)
    return StreamScores(*(torch.randn(clips, steps, classes, generator=generator) for _ in range(2)))


def loss(logits: StreamScores, labels: torch.Tensor) -> torch.Tensor:
    appearance, motion = stream_losses(logits, labels)
    return appearance + motion


def task_of(**hyper: Any) -> TwoStream:
    torch.manual_seed(0)
    network = st_resnet(num_classes=3, in_channels=3 + 2 * FIELDS, width=0.125, output_stride=8, **hyper)
    channels = 3 + 2 * FIELDS
    wanted = Preprocessing("rgb_flow", 4, 1, 16, 16, mean=(128.0,) * channels, std=(64.0,) * channels)
    return TwoStream(network, wanted).train()


def batch_of(clips: int = 3, steps: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(1)
    levels = torch.randint(256, (clips, 3 + 2 * FIELDS, steps, 16, 16), generator=generator, dtype=torch.uint8)
    return {"label": torch.arange(clips) % 3, "rgb_flow": levels}


@given(clips=st.integers(1, 4), steps=st.integers(1, 6), classes=st.integers(2, 5), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_the_loss_adds_streams_and_steps_and_averages_clips(clips: int, steps: int, classes: int, seed: int) -> None:
    logits = scores(clips, steps, classes, seed)
    labels = torch.arange(clips) % classes
    expected = 0.0
    for stream in logits:
        for clip, label in enumerate(labels.tolist()):
            for step in range(steps):
                expected -= stream[clip, step].softmax(dim=0)[label].log().item() / clips
    assert loss(logits, labels).item() == pytest.approx(expected, rel=1e-4)


def test_clips_without_a_label_add_nothing() -> None:
    logits = scores(3, 4, 5)
    labels = torch.tensor([2, -1, 0])
    labelled = StreamScores(*(stream[[0, 2]] for stream in logits))
    torch.testing.assert_close(loss(logits, labels), loss(labelled, labels[[0, 2]]))
    assert loss(logits, torch.full((3,), -1)).item() == 0


def test_each_stream_learns_from_its_own_answers() -> None:
    logits = StreamScores(*(stream.requires_grad_() for stream in scores(2, 3, 4)))
    loss(logits, torch.tensor([1, 3])).backward()
    for stream in logits:
        assert stream.grad is not None
        expected = (stream.softmax(dim=2) - torch.nn.functional.one_hot(torch.tensor([1, 3]), 4)[:, None]) / 2
        torch.testing.assert_close(stream.grad, expected.detach())


def test_the_task_trains_the_answers_of_both_streams_at_every_step() -> None:
    task, batch = task_of(), batch_of()
    network = task.network
    assert isinstance(network, STResNet)
    losses = task.loss(batch)
    with torch.no_grad():
        parts = stream_losses(network.forward_streams(task.inputs(batch)), batch["label"])
    assert losses["loss"].item() == pytest.approx(sum(parts).item(), rel=1e-5)
    assert (losses["appearance"].item(), losses["motion"].item()) == pytest.approx([part.item() for part in parts])
    # At the start all classes are about as likely: 4 steps in each of 2 streams.
    assert losses["loss"].item() == pytest.approx(2 * 4 * math.log(3), rel=0.1)


@pytest.mark.parametrize(
    ("direction", "reached"), [("motion_to_appearance", True), ("none", False), ("appearance_to_motion", False)]
)
def test_the_loss_of_appearance_reaches_the_motion_stream_by_the_injection(direction: str, reached: bool) -> None:
    """Eq. 4. With a motion classifier of zeros, the motion stream's own loss sends it nothing."""
    task = task_of(direction=direction)
    network = task.network
    assert isinstance(network, STResNet)
    torch.nn.init.zeros_(network.classifier["motion"].weight)
    task.loss(batch_of())["loss"].backward()
    gradients = [
        0.0 if weight.grad is None else weight.grad.abs().max().item()
        for name, weight in network.motion.named_parameters()
        if name.startswith(("conv1", "layer1"))
    ]
    assert (max(gradients) > 0) is reached
    assert network.appearance.conv1.weight.grad is not None
    assert network.appearance.conv1.weight.grad.abs().max() > 0


def test_label_smoothing_is_refused() -> None:
    task = task_of()
    with pytest.raises(KineflowError, match="without label_smoothing"):
        TwoStream(task.network, task.preprocessing, label_smoothing=0.1)  # type: ignore[arg-type]
