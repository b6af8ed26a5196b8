import pytest
import torch
from torch import nn

from kineflow.models.registry import create_model
from kineflow.spec.preprocessing import Preprocessing
from kineflow.training.partial_norms import later_norms
from kineflow.training.tasks import Classification

RGB = Preprocessing("rgb", 1, 1, short_side=32, crop=32, mean=(128.0,) * 3, std=(64.0,) * 3, segments=3)


def task(kind: str) -> Classification:
    torch.manual_seed(0)
    network = create_model("tsn", num_classes=2, backbone="bn_inception", width=0.125, dropout=0.5, output_stride=8)
    return Classification(network, RGB, partial_norms=kind)


def batch() -> dict[str, torch.Tensor]:
    return {"rgb": torch.randint(256, (2, 3, 3, 32, 32), dtype=torch.uint8), "label": torch.tensor([0, 1])}


def statistics(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.named_buffers() if "running" in name}


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name.rpartition(".")[0] for name in before if not torch.equal(before[name], after[name])}


def test_the_paper_s_network_has_69_norms_and_68_later_ones() -> None:
    network = create_model("tsn", num_classes=2, width=0.125)
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(norms) == 69
    assert later_norms(network) == norms[1:]
    assert norms[0] is network.get_submodule("backbone.conv1_7x7_s2_bn")


@pytest.mark.parametrize("kind", ["statistics", "affine"])
def test_only_the_first_norm_s_statistics_move_whoever_calls_train(kind: str) -> None:
    trained = task(kind)
    before = statistics(trained.network)
    for _ in range(2):  # as before and after a validation
        trained.eval()
        trained.train()
        trained.loss(batch())
    assert changed(before, statistics(trained.network)) == {"backbone.conv1_7x7_s2_bn"}
    assert trained.network.training
    assert trained.network.backbone.dropout.training


def test_a_call_from_a_module_around_it_keeps_them_frozen() -> None:
    trained = task("statistics")
    outer = nn.ModuleDict({"task": trained})
    outer.eval()
    outer.train()
    assert not any(norm.training for norm in later_norms(trained.network))


def test_off_lets_all_statistics_move() -> None:
    trained = task("off").train()
    before = statistics(trained.network)
    trained.loss(batch())
    assert len(changed(before, statistics(trained.network))) == 69


@pytest.mark.parametrize(("kind", "frozen"), [("off", 0), ("statistics", 0), ("affine", 2 * 68)])
def test_gradients_stop_at_scales_and_offsets_where_asked(kind: str, frozen: int) -> None:
    trained = task(kind).train()
    trained.loss(batch())["loss"].backward()
    idle = [name for name, parameter in trained.network.named_parameters() if parameter.grad is None]
    assert len(idle) == frozen
    assert all("_bn." in name for name in idle)
    assert "backbone.conv1_7x7_s2_bn.weight" not in idle


def test_frozen_norms_use_their_running_statistics() -> None:
    trained = task("statistics").train()
    last = later_norms(trained.network)[-1]
    x = torch.randn(4, last.num_features, 3, 3)
    with torch.no_grad():
        torch.testing.assert_close(last(x), x / (1 + last.eps) ** 0.5)  # mean 0, variance 1 as built
