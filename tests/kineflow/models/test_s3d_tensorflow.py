"""Outputs are held to a forward pass written here from the release's variables, in its layout and by its names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from kineflow.models.folding import fold_norms
from kineflow.models.inspection import inspect_weights
from kineflow.models.network import VideoNetwork
from kineflow.models.registry import create_model
from kineflow.models.s3d_tensorflow import released_names
from kineflow.models.weights import load_weights, read_weights
from kineflow.storage.errors import KineflowError
from tests.tensorflow_checkpoint import write_checkpoint

BLOCKS = ("Mixed_3b", "Mixed_3c", "4", "Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f", "5", "Mixed_5b")


def build(**keywords: float | str) -> VideoNetwork:
    return create_model("s3d_g_tensorflow", **{"num_classes": 5, "width": 0.125, **keywords})  # type: ignore[arg-type]


def variables_for(network: nn.Module) -> dict[str, NDArray[np.float32]]:
    """Variables of the release for a network of this width, drawn."""
    rng, own = np.random.default_rng(7), network.state_dict()
    variables = {}
    for name, released in released_names():
        shape = tuple(own[name].shape)
        if len(shape) == 5:
            shape = (*shape[2:], shape[1], shape[0])
        drawn = rng.standard_normal(shape)
        if len(shape) == 5:
            drawn *= (2 / np.prod(shape[:4])) ** 0.5
        else:
            drawn = 1 + 0.5 * np.tanh(drawn) if released.endswith("variance") else 0.1 * drawn
        variables[released] = drawn.astype("float32")
    return variables


class Released:
    """The release's network at evaluation; maps are [B,T,H,W,C] between its functions."""

    def __init__(self, variables: Mapping[str, NDArray[np.float32]]) -> None:
        self.variables = {name: torch.from_numpy(values).double() for name, values in variables.items()}

    def conv(self, x: Tensor, scope: str, stride: int = 1, *, normalised: bool = True) -> Tensor:
        kernel = self.variables[f"{scope}/weights"]
        padded = F.pad(x.movedim(4, 1), same(x.shape[1:4], kernel.shape[:3], (stride,) * 3))
        y = F.conv3d(padded, kernel.movedim((4, 3), (0, 1)), stride=stride).movedim(1, 4)
        if not normalised:
            return y + self.variables[f"{scope}/biases"]
        mean, variance, beta = (
            self.variables[f"{scope}/BatchNorm/{name}"] for name in ("moving_mean", "moving_variance", "beta")
        )
        return torch.relu((y - mean) / (variance + 1e-3) ** 0.5 + beta)

    def split(self, x: Tensor, scope: str) -> Tensor:
        return torch.relu(self.conv(self.conv(x, scope), f"{scope}/temporal", normalised=False))

    def gate(self, x: Tensor, scope: str) -> Tensor:
        weights = self.variables[f"{scope}/self_gating/transformer_W/weights"][0, 0, 0]
        return x * torch.sigmoid(x.mean(dim=(1, 2, 3)) @ weights)[:, None, None, None]

    def mixed(self, x: Tensor, scope: str) -> Tensor:
        branches = []
        for branch, last in enumerate(("Conv2d_0a_1x1", "Conv2d_0b_3x3", "Conv2d_0b_3x3", "Conv2d_0b_1x1")):
            at = f"{scope}/Branch_{branch}"
            y = pool(x, (3, 3, 3), (1, 1, 1)) if branch == 3 else x
            if branch in (1, 2):
                y = self.split(self.conv(y, f"{at}/Conv2d_0a_1x1"), f"{at}/{last}")
            else:
                y = self.conv(y, f"{at}/{last}")
            branches.append(self.gate(y, f"{at}/{last}"))
        return torch.cat(branches, dim=4)

    def __call__(self, clips: Tensor) -> Tensor:
        """[B,T,H,W,3] → logits [B,K]."""
        scope = "InceptionV1"
        x = self.conv(clips, f"{scope}/Conv2d_1a_7x7", stride=2)
        x = self.conv(pool(x, (1, 3, 3), (1, 2, 2)), f"{scope}/Conv2d_2b_1x1")
        x = self.gate(self.split(x, f"{scope}/Conv2d_2c_3x3"), f"{scope}/Conv2d_2c_3x3")
        x = pool(x, (1, 3, 3), (1, 2, 2))
        for block in (*BLOCKS, "Mixed_5c"):
            kernel = {"4": (3, 3, 3), "5": (2, 2, 2)}.get(block)
            x = pool(x, kernel, (2, 2, 2)) if kernel else self.mixed(x, f"{scope}/{block}")
        window = [min(side, most) for side, most in zip(x.shape[1:4], (2, 7, 7), strict=True)]
        pooled = F.avg_pool3d(x.movedim(4, 1), window, stride=1).movedim(1, 4)
        return self.conv(pooled, f"{scope}/Logits/Conv2d_0c_1x1", normalised=False).mean(dim=1)[:, 0, 0]


def same(sides: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...]) -> list[int]:
    """Padding of ``SAME`` as F.pad takes it, the last side first."""
    pads: list[int] = []
    for side, width, step in zip(sides, kernel, stride, strict=True):
        total = max(width - (side % step or step), 0)
        pads = [total // 2, total - total // 2, *pads]
    return pads


def pool(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    padded = F.pad(x.movedim(4, 1), same(x.shape[1:4], kernel, stride), value=float("-inf"))
    return F.max_pool3d(padded, kernel, stride).movedim(1, 4)


def test_parameters_are_counted_as_in_the_release() -> None:
    with torch.device("meta"):
        network = build(num_classes=400, width=1.0)
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    assert sum(sizes.values()) == 9_518_848
    assert sum(size for name, size in sizes.items() if "gate" in name) == 1_219_328
    assert network.stem.weight.shape == (64, 3, 3, 7, 7)


@pytest.mark.parametrize(("frames", "size"), [(12, 224), (16, 64), (9, 75)])
def test_outputs_are_those_of_the_release_on_its_variables(tmp_path: Path, frames: int, size: int) -> None:
    network = build().eval()
    variables = variables_for(network)
    index = write_checkpoint(tmp_path / "model.ckpt", {**variables, "global_step": np.array(7)}, shards=2)
    report = load_weights(network, read_weights(index), where="model.ckpt")
    assert (report.tensors, report.in_checkpoint, report.missing) == (305, 306, ())
    assert report.left_out == ("global_step",)
    assert report.classifier_loaded
    clips = torch.rand(1, frames, size, size, 3, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = Released(variables)(clips.double())
        logits = network(clips.movedim(4, 1))
        torch.testing.assert_close(logits.double(), expected, rtol=1e-4, atol=1e-4)
        fold_norms(network)
        torch.testing.assert_close(network(clips.movedim(4, 1)).double(), expected, rtol=1e-4, atol=1e-4)


def test_another_classifier_leaves_the_network_s_own_and_a_shallower_network_takes_what_it_has() -> None:
    whole = build()
    state = {name: torch.from_numpy(values) for name, values in variables_for(whole).items()}
    shallow = build(num_classes=3, last_stage="Mixed3c")
    before = shallow.classifier[1].weight.clone()
    report = load_weights(shallow, state, where="model.ckpt")
    assert (report.classes_in_checkpoint, report.classes_in_network, report.classifier_loaded) == (5, 3, False)
    assert torch.equal(shallow.classifier[1].weight, before)
    kernel = state["InceptionV1/Mixed_3c/Branch_1/Conv2d_0b_3x3/temporal/weights"]
    assert torch.equal(shallow.features[6].branch1[1][1][0].weight, kernel.permute(4, 3, 0, 1, 2))


def test_untrained_it_sees_each_frame_by_itself_but_for_the_stem() -> None:
    network = build(stem_temporal_stride=1).eval()
    split = network.features[3]
    x = torch.randn(1, 8, 5, 9, 9)
    alone = torch.cat([split[1](split[0](x[:, :, t : t + 1])) for t in range(5)], dim=2)
    torch.testing.assert_close(split[1](split[0](x)), alone)


def test_scales_of_normalisation_do_not_learn_and_are_not_stored() -> None:
    network = build()
    norms = {name for name, layer in network.named_modules() if isinstance(layer, nn.BatchNorm3d)}
    assert norms
    assert not {f"{name}.weight" for name in norms} & {*network.state_dict(), *dict(network.named_parameters())}
    network(torch.rand(2, 3, 8, 32, 32)).sum().backward()
    assert all(network.get_submodule(name).bias.grad is not None for name in norms)


def test_a_whole_file_says_which_network_it_is_of(tmp_path: Path) -> None:
    with torch.device("meta"):
        network = build(num_classes=400, width=1.0)
    own = network.state_dict()
    variables = {
        released: np.zeros([*own[name].shape[2:], *own[name].shape[1::-1]], "float32")
        for name, released in released_names()
    }
    seen = inspect_weights(write_checkpoint(tmp_path / "model.ckpt", variables))
    assert (seen.fits, seen.classes, seen.form) == (("s3d_g_tensorflow",), 400, "TensorFlow's checkpoint")


def test_variables_of_another_network_are_told(tmp_path: Path) -> None:
    state = {"InceptionV1/Conv2d_1a_7x7/weights": torch.zeros(7, 7, 7, 3, 8)}
    with pytest.raises(KineflowError, match=r"missing \(302\).*\n.*features.0.0.weight \[8, 3, 7, 7, 7\]"):
        load_weights(build(), state, where="model.ckpt")
