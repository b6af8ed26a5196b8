"""Files are written by scipy as MatConvNet has them; what its functions compute is written out here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kineflow.models.normalisation import Normalisation
from kineflow.models.registry import create_backbone, create_model
from kineflow.models.weight_formats.matconvnet import read_matconvnet
from kineflow.models.weight_sources import source_of
from kineflow.models.weights import load_weights
from tests.kineflow.models.weight_files import cells, dag, drawn, matlab

WIDTH = 0.125
AVERAGE = np.float32([[[122.7, 116.7, 104.0]]])
UNITS = {"2": "abc", "3": "abcd", "4": "abcdef", "5": "abc"}
Parameters = dict[str, np.ndarray]


def read(path: Path) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in read_matconvnet(path).items()}


def filters(parameters: Parameters, name: str, shape: tuple[int, int, int, int], rng: np.random.Generator) -> None:
    """A kernel [h,w,in,out] with He's deviation."""
    deviation = (2 / np.prod(shape[:3])) ** 0.5
    parameters[f"{name}_filter"] = rng.normal(0, deviation, shape).astype(np.float32)


def norm(parameters: Parameters, name: str, channels: int, rng: np.random.Generator) -> None:
    """mult, bias, and moments: means, and deviations that have ε within; one of them is less than torch's ε alone."""
    deviations = rng.uniform(0.7, 1.4, channels)
    deviations[0] = 1e-3
    scales = rng.uniform(0.2, 0.6, channels)
    scales[0] = 1e-3
    parameters[f"{name}_mult"] = scales.astype(np.float32)[:, None]
    parameters[f"{name}_bias"] = rng.normal(0, 0.3, (channels, 1)).astype(np.float32)
    parameters[f"{name}_moments"] = np.stack([rng.normal(0, 0.3, channels), deviations], 1).astype(np.float32)


def resnet_parameters(*, channels: int = 3, classes: int = 5, seed: int = 0) -> Parameters:
    rng = np.random.default_rng(seed)
    parameters: Parameters = {}
    filters(parameters, "conv1", (7, 7, channels, 8), rng)
    parameters["conv1_bias"] = rng.normal(0, 1, (8, 1)).astype(np.float32)
    norm(parameters, "bn_conv1", 8, rng)
    before = 8
    for stage, units in UNITS.items():
        inner = 8 * 2 ** (int(stage) - 2)
        for unit in units:
            branches = {"2a": (1, before, inner), "2b": (3, inner, inner), "2c": (1, inner, 4 * inner)}
            if unit == "a":
                branches["1"] = (1, before, 4 * inner)
            for branch, (side, into, out) in branches.items():
                filters(parameters, f"res{stage}{unit}_branch{branch}", (side, side, into, out), rng)
                norm(parameters, f"bn{stage}{unit}_branch{branch}", out, rng)
            before = 4 * inner
    filters(parameters, "fc1000", (1, 1, before, classes), rng)
    parameters["fc1000_bias"] = rng.normal(0, 1, (classes, 1)).astype(np.float32)
    return parameters


class MatConvNet:
    """vl_nnconv and vl_nnbnorm in torch's order of dimensions."""

    def __init__(self, parameters: Mapping[str, np.ndarray]) -> None:
        self.parameters = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in parameters.items()}

    def conv(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        kernel = self.parameters[f"{name}_filter"].permute(3, 2, 0, 1)
        bias = self.parameters.get(f"{name}_bias")
        return F.conv2d(x, kernel, None if bias is None else bias.flatten(), stride, kernel.shape[-1] // 2)

    def norm(self, x: Tensor, name: str) -> Tensor:
        mult, bias, moments = (self.parameters[f"{name}_{kind}"] for kind in ("mult", "bias", "moments"))
        mean, deviation = (column[None, :, None, None] for column in moments.T)
        return mult.flatten()[None, :, None, None] * (x - mean) / deviation + bias.flatten()[None, :, None, None]

    def resnet(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.norm(self.conv(x, "conv1", 2), "bn_conv1")), 3, 2, ceil_mode=True)
        for stage, units in UNITS.items():
            for letter in units:
                at, stride = f"{stage}{letter}_branch", 2 if letter == "a" and stage != "2" else 1
                y = x
                for branch in ("2a", "2b", "2c"):
                    y = self.norm(self.conv(y, f"res{at}{branch}", stride if branch == "2a" else 1), f"bn{at}{branch}")
                    y = y if branch == "2c" else F.relu(y)
                shortcut = self.norm(self.conv(x, f"res{at}1", stride), f"bn{at}1") if letter == "a" else x
                x = F.relu(shortcut + y)
        return self.conv(x.mean((2, 3), keepdim=True), "fc1000").flatten(1)


def test_resnet_of_a_stream(tmp_path: Path) -> None:
    parameters = resnet_parameters()
    rgb = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.float32)
    expected = MatConvNet(parameters).resnet(torch.from_numpy((rgb - AVERAGE).transpose(2, 0, 1).copy())[None])
    matlab(tmp_path / "a.mat", {"net": dag(parameters, AVERAGE)})

    state = read(tmp_path / "a.mat")
    source = source_of(state)
    takes = source.takes(state) if source else None
    assert takes == Normalisation((122.7, 116.7, 104.0), (1.0, 1.0, 1.0))
    network = create_backbone("resnet50_caffe", num_classes=5, width=WIDTH).eval()
    report = load_weights(network, state, where="a.mat")
    assert report.classifier_loaded
    x = torch.from_numpy((rgb - np.float32(takes.mean)).transpose(2, 0, 1).copy())[None]
    with torch.inference_mode():
        torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-3)


def test_a_stream_that_sees_flow_takes_no_rgb(tmp_path: Path) -> None:
    parameters = resnet_parameters(channels=20)
    matlab(tmp_path / "a.mat", dag(parameters, np.full((1, 1, 20), 128.0)))
    state = read(tmp_path / "a.mat")
    source = source_of(state)
    assert source is not None
    assert source.takes(state) is None
    network = create_backbone("resnet50_caffe", num_classes=5, in_channels=20, width=WIDTH).eval()
    load_weights(network, state, where="a.mat")
    x = torch.randn(1, 20, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(network(x), MatConvNet(parameters).resnet(x), rtol=1e-4, atol=1e-3)


def test_a_joined_network_keeps_both_streams_and_their_taps(tmp_path: Path) -> None:
    network = create_model("st_resnet", num_classes=5, in_channels=23, width=WIDTH, caffe=True).eval()
    state = drawn(network)
    parameters: Parameters = {}
    for stream, ending in (("appearance", "spatial"), ("motion", "temporal")):
        for key in [key for key in state if key.startswith(f"{stream}.") and key.endswith(".weight")]:
            layer = key.removeprefix(f"{stream}.").removesuffix(".weight")
            at = layer.replace("layer", "").split(".")
            if layer.startswith("layer"):
                branch = {"downsample": "1"}.get(
                    at[2], f"2{'abc'[int(at[2][-1]) - 1]}" if at[2] != "downsample" else ""
                )
                name = f"{int(at[0]) + 1}{'abcdef'[int(at[1])]}_branch{branch}"
                is_norm = at[2].startswith("bn") or at[2:] == ["downsample", "1"]
                name = f"{'bn' if is_norm else 'res'}{name}"
            else:
                is_norm, name = layer == "bn1", "bn_conv1" if layer == "bn1" else "conv1"
            weight = state[key]
            if is_norm:
                at_norm = key.removesuffix(".weight")
                mean, variance = state[f"{at_norm}.running_mean"], state[f"{at_norm}.running_var"]
                parameters[f"{name}_mult_{ending}"] = weight.numpy()[:, None]
                parameters[f"{name}_bias_{ending}"] = state[f"{at_norm}.bias"].numpy()[:, None]
                moments = torch.stack([mean, (variance + 1e-5).sqrt()], 1)
                parameters[f"{name}_moments_{ending}"] = moments.numpy()
            else:  # [out,in,time or h,w] to [h,w,in,out], time along the width
                over_time = weight.shape[2] == 3 and weight.shape[3] == 1
                parameters[f"{name}_filter_{ending}"] = (
                    (weight.transpose(2, 3) if over_time else weight).permute(2, 3, 1, 0).numpy()
                )
        scores = state[f"classifier.{stream}.weight"]
        parameters[f"fc1000_filter_{ending}"] = scores.T.numpy()[None, None]
        parameters[f"fc1000_bias_{ending}"] = state[f"classifier.{stream}.bias"].numpy()[:, None]
    matlab(tmp_path / "a.mat", {"net": dag(parameters, np.full((1, 1, 23), 128.0))})

    again = create_model("st_resnet", num_classes=5, in_channels=23, width=WIDTH, caffe=True).eval()
    report = load_weights(again, read(tmp_path / "a.mat"), where="a.mat")
    assert report.classifier_loaded
    x = torch.randn(1, 23, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(again(x), network(x), rtol=1e-4, atol=1e-4)


def test_vgg_of_layers_with_weights(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parameters: Parameters = {}
    before, names = 3, []
    for block, (count, channels) in enumerate(((2, 8), (2, 16), (3, 32), (3, 64), (3, 64)), 1):
        for layer in range(1, count + 1):
            filters(parameters, f"conv{block}_{layer}", (3, 3, before, channels), rng)
            names.append(f"conv{block}_{layer}")
            before = channels
    for name, shape in (("fc6", (7, 7, 64, 512)), ("fc7", (1, 1, 512, 512)), ("fc8", (1, 1, 512, 5))):
        filters(parameters, name, shape, rng)
        names.append(name)
    for name in names:
        parameters[f"{name}_bias"] = rng.normal(0, 0.1, parameters[f"{name}_filter"].shape[3]).astype(np.float32)
    layers = [
        {"name": name, "type": "conv", "weights": cells([parameters[f"{name}_filter"], parameters[f"{name}_bias"]])}
        for name in names
    ]
    image = np.broadcast_to(AVERAGE, (224, 224, 3)).astype(np.float32)
    relu = {"name": "relu1_1", "type": "relu"}
    matlab(tmp_path / "a.mat", {"layers": cells([*layers, relu]), "normalization": {"averageImage": image}})

    net = MatConvNet(parameters)
    rgb = rng.integers(0, 256, (3, 224, 224)).astype(np.float32)
    start = torch.from_numpy(rgb - AVERAGE.reshape(3, 1, 1))[None]
    x = start
    for name in names[:-3]:
        if name.endswith("_1") and name != "conv1_1":
            x = F.max_pool2d(x, 2)
        x = F.relu(net.conv(x, name))
    x = F.max_pool2d(x, 2)
    cells_first = net.parameters["fc6_filter"].permute(3, 2, 0, 1)
    x = F.relu(F.conv2d(x, cells_first, net.parameters["fc6_bias"]))
    expected = net.conv(F.relu(net.conv(x, "fc7")), "fc8").flatten(1)

    network = create_backbone("vgg16", num_classes=5, width=WIDTH).eval()
    state = read(tmp_path / "a.mat")
    load_weights(network, state, where="a.mat")
    source = source_of(state)
    takes = source.takes(state) if source else None
    assert takes == Normalisation((122.7, 116.7, 104.0), (1.0, 1.0, 1.0))
    with torch.inference_mode():
        torch.testing.assert_close(network(start), expected, rtol=1e-4, atol=1e-3)
