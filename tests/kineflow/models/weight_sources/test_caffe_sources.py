"""Networks that a Caffe file was loaded into answer as Caffe would: every layer is computed here from the blobs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kineflow.models.network import ImageNetwork
from kineflow.models.registry import create_backbone
from kineflow.models.weight_formats.caffe import read_caffe
from kineflow.models.weight_sources import source_of
from kineflow.models.weight_sources.caffe_bn_inception import CAFFE_BN_INCEPTION, from_inverse_std
from kineflow.models.weights import load_weights
from tests.kineflow.models.weight_files import caffemodel, drawn

Layers = dict[str, list[np.ndarray]]
WIDTH = 0.125


class Caffe:
    """What a net of Caffe computes, layer by layer."""

    def __init__(self, layers: Layers) -> None:
        self.layers = {name: [torch.from_numpy(array) for array in arrays] for name, arrays in layers.items()}

    def conv(self, x: Tensor, name: str, *, stride: int = 1) -> Tensor:
        kernel, *bias = self.layers[name]
        return F.conv2d(x, kernel, bias[0] if bias else None, stride, kernel.shape[-1] // 2)

    def norm_of_tsn(self, x: Tensor, name: str) -> Tensor:
        scale, shift, mean, variance = self.layers[name]
        return (x - mean) / torch.sqrt(variance + 1e-5) * scale + shift

    def norm_and_scale(self, x: Tensor, norm: str, scale: str) -> Tensor:
        mean, variance, factor = self.layers[norm]
        gamma, beta = (blob[None, :, None, None] for blob in self.layers[scale])
        mean, variance = (blob[None, :, None, None] / factor for blob in (mean, variance))
        return (x - mean) / torch.sqrt(variance + 1e-5) * gamma + beta

    def linear(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.layers[name]
        return x @ weight.T + bias


def loaded(path: Path, layers: Layers, backbone: str, **options: float) -> tuple[ImageNetwork, Mapping[str, Tensor]]:
    path.write_bytes(caffemodel(layers))
    state = {name: torch.tensor(array) for name, array in read_caffe(path).items()}
    classes = next(reversed(layers.values()))[0].shape[-2]
    network = create_backbone(backbone, num_classes=classes, **options).eval()
    report = load_weights(network, state, where=path.name)
    assert report.classifier_loaded
    assert set(report.left_out) <= {"loss1/classifier.0", "loss1/classifier.1"}
    return network, state


def image(side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)


def as_caffe_takes(rgb: np.ndarray, mean: tuple[float, float, float]) -> Tensor:
    """The authors' preparation: blue first, 0..255, less the mean pixel."""
    bgr = rgb[:, :, ::-1].astype(np.float32) - np.array(mean, np.float32)
    return torch.from_numpy(bgr.transpose(2, 0, 1).copy())[None]


def as_kineflow_takes(rgb: np.ndarray, state: Mapping[str, Tensor]) -> Tensor:
    source = source_of(state)
    takes = source.takes(state) if source else None
    assert takes is not None
    x = torch.from_numpy(rgb.astype(np.float32).transpose(2, 0, 1))
    x = x.flip(0) if takes.channel_order == "bgr" else x
    return ((x - torch.tensor(takes.mean)[:, None, None]) / torch.tensor(takes.std)[:, None, None])[None]


def kernels(shapes: Mapping[str, tuple[int, ...]], *, bias: bool = True, seed: int = 0) -> Layers:
    rng = np.random.default_rng(seed)
    layers: Layers = {}
    for name, shape in shapes.items():
        weight = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
        layers[name] = [weight, rng.normal(0, 0.1, shape[0]).astype(np.float32)] if bias else [weight]
    return layers


def test_bn_inception_of_tsn(tmp_path: Path) -> None:
    network = create_backbone("bn_inception", num_classes=5, width=WIDTH)
    layers: Layers = {}
    state = drawn(network)
    for name in [key.removesuffix(".weight") for key in state if key.endswith(".weight")]:
        group, rest = name.split("_", 1) if name.startswith("conv") else (name[:12], name[13:])
        called = "fc-action" if name == "last_linear" else f"{group}/{rest}"
        if name.endswith("_bn"):
            kinds = ("weight", "bias", "running_mean", "running_var")
            layers[called] = [state[f"{name}.{kind}"].numpy().reshape(1, -1, 1, 1) for kind in kinds]
        else:
            layers[called] = [state[f"{name}.weight"].numpy(), state[f"{name}.bias"].numpy()]
    layers["fc-action"] = layers.pop("fc-action")
    net = Caffe(layers)
    rgb = image(64)

    def unit(x: Tensor, name: str, stride: int = 1) -> Tensor:
        return F.relu(net.norm_of_tsn(net.conv(x, name, stride=stride), f"{name}_bn"))

    x = unit(as_caffe_takes(rgb, (104, 117, 123)), "conv1/7x7_s2", 2)
    x = unit(F.max_pool2d(x, 3, 2, ceil_mode=True), "conv2/3x3_reduce")
    x = F.max_pool2d(unit(x, "conv2/3x3"), 3, 2, ceil_mode=True)
    for block in ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        at, halves = f"inception_{block}", block in ("3c", "4e")
        stride = 2 if halves else 1
        three = unit(unit(x, f"{at}/3x3_reduce"), f"{at}/3x3", stride)
        double = unit(unit(unit(x, f"{at}/double_3x3_reduce"), f"{at}/double_3x3_1"), f"{at}/double_3x3_2", stride)
        if halves:
            x = torch.cat([three, double, F.max_pool2d(x, 3, 2, ceil_mode=True)], 1)
            continue
        pool = F.max_pool2d(x, 3, 1, 1) if block == "5b" else F.avg_pool2d(x, 3, 1, 1)
        x = torch.cat([unit(x, f"{at}/1x1"), three, double, unit(pool, f"{at}/pool_proj")], 1)
    expected = net.linear(x.mean((2, 3)), "fc-action")

    converted, read = loaded(tmp_path / "a.caffemodel", layers, "bn_inception", width=WIDTH)
    with torch.inference_mode():
        torch.testing.assert_close(converted(as_kineflow_takes(rgb, read)), expected, rtol=1e-4, atol=1e-4)


def test_googlenet_of_the_zoo(tmp_path: Path) -> None:
    network = create_backbone("googlenet_caffe", num_classes=5, width=WIDTH)
    shapes = {key.removesuffix(".weight"): tuple(t.shape) for key, t in network.state_dict().items() if "weight" in key}
    named = {}
    for name, shape in shapes.items():
        group, rest = name.split("_", 1) if name.startswith("conv") else (name[:12], name[13:])
        named["loss3/classifier" if name == "loss3_classifier" else f"{group}/{rest}"] = shape
    layers = kernels(named)
    layers = {"loss1/classifier": [np.ones((5, 8), np.float32), np.ones(5, np.float32)], **layers}
    net, rgb = Caffe(layers), image(64)

    def unit(x: Tensor, name: str, stride: int = 1) -> Tensor:
        return F.relu(net.conv(x, name, stride=stride))

    def across_channels(x: Tensor) -> Tensor:
        squares = F.pad((x**2).transpose(1, 3), (2, 2)).unfold(3, 5, 1).sum(-1).transpose(1, 3)
        return x / (1 + 1e-4 / 5 * squares) ** 0.75

    x = across_channels(
        F.max_pool2d(unit(as_caffe_takes(rgb, (104, 117, 123)), "conv1/7x7_s2", 2), 3, 2, ceil_mode=True)
    )
    x = across_channels(unit(unit(x, "conv2/3x3_reduce"), "conv2/3x3"))
    for block in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        at = f"inception_{block}"
        if block in ("3a", "4a", "5a"):
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        three = unit(unit(x, f"{at}/3x3_reduce"), f"{at}/3x3")
        five = unit(unit(x, f"{at}/5x5_reduce"), f"{at}/5x5")
        pool = unit(F.max_pool2d(x, 3, 1, 1), f"{at}/pool_proj")
        x = torch.cat([unit(x, f"{at}/1x1"), three, five, pool], 1)
    expected = net.linear(x.mean((2, 3)), "loss3/classifier")

    converted, read = loaded(tmp_path / "a.caffemodel", layers, "googlenet_caffe", width=WIDTH)
    with torch.inference_mode():
        torch.testing.assert_close(converted(as_kineflow_takes(rgb, read)), expected, rtol=1e-4, atol=1e-4)


UNITS = {"2": "abc", "3": "abcd", "4": "abcdef", "5": "abc"}


def resnet_shapes(classes: int = 5) -> dict[str, tuple[int, ...]]:
    """Of kernels at an eighth of the width, by the authors' names."""
    shapes: dict[str, tuple[int, ...]] = {"conv1": (8, 3, 7, 7)}
    before = 8
    for stage, units in UNITS.items():
        inner = 8 * 2 ** (int(stage) - 2)
        for unit in units:
            at = f"res{stage}{unit}_branch"
            if unit == "a":
                shapes[f"{at}1"] = (4 * inner, before, 1, 1)
            shapes |= {f"{at}2a": (inner, before, 1, 1), f"{at}2b": (inner, inner, 3, 3)}
            shapes[f"{at}2c"] = (4 * inner, inner, 1, 1)
            before = 4 * inner
    return shapes | {"fc1000": (classes, before)}


def norm_name(convolution: str) -> str:
    return f"bn_{convolution}" if convolution == "conv1" else f"bn{convolution.removeprefix('res')}"


def test_resnet_of_its_authors(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    layers = kernels(resnet_shapes(), bias=False)
    layers["conv1"].append(rng.normal(0, 1, 8).astype(np.float32))
    layers["fc1000"].append(rng.normal(0, 1, 5).astype(np.float32))
    for name in list(layers):
        if name == "fc1000":
            continue
        channels, factor = layers[name][0].shape[0], np.float32(999.98)
        mean, variance = rng.normal(0, 0.3, channels), rng.uniform(0.5, 2, channels)
        sums = [(statistic * factor).astype(np.float32) for statistic in (mean, variance)]
        layers[norm_name(name)] = [*sums, np.array([factor])]
        scale = rng.uniform(0.2, 0.6, channels), rng.normal(0, 0.3, channels)
        layers[norm_name(name).replace("bn", "scale")] = [blob.astype(np.float32) for blob in scale]
    layers["fc1000"] = layers.pop("fc1000")
    net, rgb = Caffe(layers), image(64)

    def unit(x: Tensor, name: str, stride: int = 1) -> Tensor:
        norm = norm_name(name)
        return net.norm_and_scale(net.conv(x, name, stride=stride), norm, norm.replace("bn", "scale"))

    x = F.max_pool2d(F.relu(unit(as_caffe_takes(rgb, (104, 117, 123)), "conv1", 2)), 3, 2, ceil_mode=True)
    for stage, units in UNITS.items():
        for letter in units:
            at, stride = f"res{stage}{letter}_branch", 2 if letter == "a" and stage != "2" else 1
            residual = F.relu(unit(F.relu(unit(x, f"{at}2a", stride)), f"{at}2b"))
            x = F.relu((unit(x, f"{at}1", stride) if letter == "a" else x) + unit(residual, f"{at}2c"))
    expected = net.linear(x.mean((2, 3)), "fc1000")

    converted, read = loaded(tmp_path / "a.caffemodel", layers, "resnet50_caffe", width=WIDTH)
    with torch.inference_mode():
        torch.testing.assert_close(converted(as_kineflow_takes(rgb, read)), expected, rtol=1e-4, atol=1e-4)


def vgg_shapes(classes: int = 5) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    before = 3
    for block, (count, channels) in enumerate(((2, 8), (2, 16), (3, 32), (3, 64), (3, 64)), 1):
        for layer in range(1, count + 1):
            shapes[f"conv{block}_{layer}"] = (channels, before, 3, 3)
            before = channels
    return shapes | {"fc6": (512, 64 * 49), "fc7": (512, 512), "fc8": (classes, 512)}


@pytest.mark.parametrize("form", [1, 2])
def test_vgg_of_its_authors(tmp_path: Path, form: int) -> None:
    layers = kernels(vgg_shapes())
    net, rgb = Caffe(layers), image(224)
    x = as_caffe_takes(rgb, (103.939, 116.779, 123.68))
    for block, count in enumerate((2, 2, 3, 3, 3), 1):
        for layer in range(1, count + 1):
            x = F.relu(net.conv(x, f"conv{block}_{layer}"))
        x = F.max_pool2d(x, 2)
    x = x.flatten(1)
    for name in ("fc6", "fc7"):
        x = F.relu(net.linear(x, name))
    expected = net.linear(x, "fc8")

    path = tmp_path / "a.caffemodel"
    path.write_bytes(caffemodel(layers, form=form))
    read = {name: torch.tensor(array) for name, array in read_caffe(path).items()}
    network = create_backbone("vgg16", num_classes=5, width=WIDTH).eval()
    assert load_weights(network, read, where=path.name).left_out == ()
    with torch.inference_mode():
        torch.testing.assert_close(network(as_kineflow_takes(rgb, read)), expected, rtol=1e-4, atol=1e-3)


def test_inverse_deviations_of_an_early_caffe_become_variances() -> None:
    variance = torch.tensor([1e-4, 0.25, 9.0])
    name = "inception_3a/1x1_bn.3"
    given = {name: (variance + 1e-5).rsqrt(), "fc-action.0": torch.ones(2)}
    made = from_inverse_std(given)
    torch.testing.assert_close(made[name], variance, rtol=1e-4, atol=0)
    assert made["fc-action.0"] is given["fc-action.0"]


def test_of_several_heads_it_is_the_action_s() -> None:
    heads = {f"{layer}.0": torch.ones(2, 3) for layer in ("loss1/classifier", "fc", "fc-action")}
    assert CAFFE_BN_INCEPTION.renamed(heads).keys() == {"last_linear.weight"}
    other = {name: tensor for name, tensor in heads.items() if name != "fc-action.0"}
    assert CAFFE_BN_INCEPTION.renamed(other).keys() == {"last_linear.weight"}
