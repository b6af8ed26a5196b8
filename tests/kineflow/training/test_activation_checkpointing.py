"""Stages that are computed again: the same gradients from less that is kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kineflow.models.registry import create_model
from kineflow.models.resnet import ResNet50
from kineflow.spec.preprocessing import Preprocessing
from kineflow.storage.errors import KineflowError
from kineflow.training.activation_checkpointing import checkpoint_activations
from kineflow.training.settings import TrainSettings
from kineflow.training.tasks import Classification
from kineflow.training.trainer import Trainer

SMALL = {"num_classes": 3, "width": 0.125, "dropout": 0.5}
# Clips [B,C,T,S,S] of each network that says where its stages begin.
NETWORKS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "s3d_g": ({}, (2, 3, 8, 32, 32)),
    "st_resnet": ({"in_channels": 7, "output_stride": 8}, (2, 7, 3, 32, 32)),
    **{
        f"tsn of {backbone}": ({"backbone": backbone, "output_stride": 8}, (2, 3, 3, 32, 32))
        for backbone in ("bn_inception", "googlenet", "googlenet_caffe", "resnet50", "vgg16", "efficientnet_lite0")
    },
}


def build(name: str, *, recomputes: bool) -> nn.Module:
    torch.manual_seed(0)
    network = create_model(name.split()[0], **{**SMALL, **NETWORKS[name][0]}).double()
    if recomputes:
        checkpoint_activations(network)
    return network.train()


def learn_once(network: nn.Module, clips: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor], int]:
    """Gradients, statistics, and the bytes that are kept for the backward pass beside the weights."""
    weights = {parameter.data_ptr() for parameter in network.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = network(clips).square().mean()
    size = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    loss.backward()
    return {name: p.grad for name, p in network.named_parameters()}, dict(network.named_buffers()), size


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_and_statistics_are_the_same_and_much_less_is_kept(name: str) -> None:
    torch.manual_seed(2)
    clips = torch.randn(NETWORKS[name][1], dtype=torch.float64)
    (gradients, statistics, size), (again, statistics_again, less) = (
        learn_once(build(name, recomputes=recomputes), clips) for recomputes in (False, True)
    )
    torch.testing.assert_close(again, gradients, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(statistics_again, statistics, rtol=0, atol=0)
    assert less < 0.6 * size


def test_dropout_within_a_stage_draws_the_same_again() -> None:
    class Dropping(ResNet50):
        def forward_stem(self, x: Tensor) -> Tensor:
            return nn.functional.dropout(super().forward_stem(x), 0.5)

    def network(recomputes: bool) -> nn.Module:
        torch.manual_seed(0)
        of = Dropping(num_classes=3, in_channels=3, width=0.125, dropout=0.0, output_stride=8, caffe=False).double()
        if recomputes:
            checkpoint_activations(of)
        return of

    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    plain, again = (learn_once(network(recomputes), images)[0] for recomputes in (False, True))
    torch.testing.assert_close(again, plain, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_a_training_with_frozen_stages_and_reduced_precision_is_the_same() -> None:
    ends = []
    for recomputes in (False, True):
        settings = TrainSettings(
            steps=2, validate_every_steps=2, precision="bf16", frozen="backbone", unfrozen_stages=3,
            unfreeze_after_steps=1, activation_checkpointing=recomputes, optimiser={"name": "sgd"},
        )  # fmt: skip
        torch.manual_seed(0)
        seen = Preprocessing("rgb", 8, 1, short_side=32, crop=32, mean=(128.0,) * 3, std=(64.0,) * 3)
        task = Classification(create_model("s3d", **SMALL), seen, **settings.task_options())
        trainer = Trainer(task, settings, seed=0, device=torch.device("cpu"))
        torch.manual_seed(1)
        for _ in range(2):
            clips = torch.randint(256, (2, 3, 8, 32, 32), dtype=torch.uint8)
            trainer.step({"rgb": clips, "label": torch.tensor([0, 2])})
        ends.append((trainer.take_losses(), task.network.state_dict()))
    assert ends[0][0] == ends[1][0]
    torch.testing.assert_close(ends[1][1], ends[0][1], rtol=0, atol=0)


def test_a_network_that_does_not_say_where_its_stages_begin_is_refused(tiny_network: Any) -> None:
    with pytest.raises(KineflowError, match="TinyNetwork does not say what of it could be computed again"):
        checkpoint_activations(tiny_network())
