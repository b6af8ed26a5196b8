"""The libraries' modules, written small: their own forward pass is what the loaded network has to give."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kineflow.models.network import Network
from kineflow.models.normalisation import CAFFE_VGG, HALF_RANGE, TORCHVISION, TSN_PYTORCH, Normalisation
from kineflow.models.registry import create_backbone, create_model
from kineflow.models.weight_sources import source_of
from kineflow.models.weights import load_weights
from tests.kineflow.models.weight_files import drawn

WIDTH = 0.125


def check(network: Network, theirs: Mapping[str, Tensor], x: Tensor, expected: Tensor, takes: Normalisation) -> None:
    """The network holds all of a file, and gives what its library gives."""
    report = load_weights(network, theirs, where="theirs.pth")
    assert (report.classifier_loaded, report.left_out) == (True, ())
    with torch.inference_mode():
        torch.testing.assert_close(network.eval()(x), expected, rtol=1e-4, atol=1e-4)
    source = source_of(theirs)
    assert source is not None
    assert source.takes(theirs) == takes


class ConvModule(nn.Module):
    """mmcv's, of a convolution and a normalisation."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, *, relu: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(after)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return F.relu(x) if self.relu else x


class Unit(nn.Module):
    def __init__(self, before: int, inner: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvModule(before, inner, 1)
        self.conv2 = ConvModule(inner, inner, 3, stride)
        self.conv3 = ConvModule(inner, 4 * inner, 1, relu=False)
        if before != 4 * inner or stride > 1:
            self.downsample = ConvModule(before, 4 * inner, 1, stride, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.downsample(x) if hasattr(self, "downsample") else x
        return F.relu(shortcut + self.conv3(self.conv2(self.conv1(x))))


class MMActionTSN(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.conv1 = ConvModule(3, 8, 7, 2)
        before = 8
        for stage, units in enumerate((3, 4, 6, 3)):
            layers = []
            for place in range(units):
                layers.append(Unit(before, 8 * 2**stage, 2 if stage and not place else 1))
                before = 32 * 2**stage
            self.backbone.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.cls_head = nn.Module()
        self.cls_head.fc_cls = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.backbone.conv1(x), 3, 2, 1)
        for stage in range(1, 5):
            x = self.backbone.get_submodule(f"layer{stage}")(x)
        return self.cls_head.fc_cls(x.mean((2, 3)))


def frames(side: int = 64) -> Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_mmaction2() -> None:
    theirs = MMActionTSN(5).eval()
    drawn(theirs)
    expected = theirs(frames()).detach()
    network = create_backbone("resnet50", num_classes=5, width=WIDTH)
    check(network, theirs.state_dict(), frames(), expected, TORCHVISION)


@pytest.mark.parametrize(("backbone", "takes"), [("bn_inception", TSN_PYTORCH), ("resnet50", TORCHVISION)])
def test_tsn_pytorch(backbone: str, takes: Normalisation) -> None:
    """Its backbones are those of the libraries, whose names ours have; it takes their classifier away."""
    body = create_backbone(backbone, num_classes=0, width=WIDTH).eval()
    theirs = {f"base_model.{name}": tensor for name, tensor in drawn(body).items()}
    head = nn.Linear(body.head_hidden_size, 5)
    theirs |= {f"new_fc.{name}": tensor for name, tensor in head.state_dict().items()}
    expected = head(body(frames())).detach()
    network = create_model("tsn", num_classes=5, backbone=backbone, width=WIDTH)
    check(network, theirs, frames().unsqueeze(2), expected, takes)


def test_hugging_face_s_resnet() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[32, 64, 128, 256], depths=[3, 4, 6, 3], num_labels=5
    )
    theirs = transformers.ResNetForImageClassification(config).eval()
    drawn(theirs)
    expected = theirs(frames()).logits.detach()
    network = create_backbone("resnet50", num_classes=5, width=WIDTH)
    check(network, theirs.state_dict(), frames(), expected, TORCHVISION)


def test_jcjohnson_s_vgg() -> None:
    layers: list[nn.Module] = []
    before = 3
    for count, channels in ((2, 8), (2, 16), (3, 32), (3, 64), (3, 64)):
        for _ in range(count):
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
            before = channels
        layers.append(nn.MaxPool2d(2))
    theirs = nn.Module()
    theirs.features = nn.Sequential(*layers)
    fc6, fc7, fc8 = nn.Linear(64 * 49, 512), nn.Linear(512, 512), nn.Linear(512, 5)
    theirs.classifier = nn.Sequential(nn.Dropout(), fc6, nn.ReLU(), nn.Dropout(), fc7, nn.ReLU(), fc8)
    theirs.eval()
    expected = theirs.classifier(theirs.features(frames(224)).flatten(1)).detach()
    network = create_backbone("vgg16", num_classes=5, width=WIDTH)
    check(network, theirs.state_dict(), frames(224), expected, CAFFE_VGG)


class Basic(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(before, after, 1, bias=False)
        self.bn = nn.BatchNorm3d(after, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Split(nn.Module):
    def __init__(self, before: int, after: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        pad = kernel // 2
        self.conv_s = nn.Conv3d(before, after, (1, kernel, kernel), (1, stride, stride), (0, pad, pad), bias=False)
        self.bn_s = nn.BatchNorm3d(after, eps=1e-3)
        self.conv_t = nn.Conv3d(after, after, (kernel, 1, 1), (stride, 1, 1), (pad, 0, 0), bias=False)
        self.bn_t = nn.BatchNorm3d(after, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn_t(self.conv_t(F.relu(self.bn_s(self.conv_s(x))))))


class Block(nn.Module):
    def __init__(self, before: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        b0, b1, b1_out, b2, b2_out, b3 = widths
        self.branch0 = nn.Sequential(Basic(before, b0))
        self.branch1 = nn.Sequential(Basic(before, b1), Split(b1, b1_out, 3))
        self.branch2 = nn.Sequential(Basic(before, b2), Split(b2, b2_out, 3))
        self.branch3 = nn.Sequential(nn.MaxPool3d(3, 1, 1), Basic(before, b3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.children()], 1)


def test_kyle_min_s_s3d() -> None:
    def at_width(channels: int) -> int:
        return max(8, 8 * int(channels * WIDTH / 8 + 0.5))

    stages: list[nn.Module] = [
        Split(3, 8, 7, 2), nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)), Basic(8, 8), Split(8, 24, 3),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    ]  # fmt: skip
    before = 24
    for widths in (
        (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), None, (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64), (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128), None, (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128),
    ):  # fmt: skip
        if widths is None:
            is_first = len(stages) == 7
            stages.append(nn.MaxPool3d(3, 2, 1) if is_first else nn.MaxPool3d(2, 2))
            continue
        b0, b1, b1_out, b2, b2_out, b3 = map(at_width, widths)
        stages.append(Block(before, (b0, b1, b1_out, b2, b2_out, b3)))
        before = b0 + b1_out + b2_out + b3
    theirs = nn.Module()
    theirs.base = nn.Sequential(*stages)
    theirs.fc = nn.Sequential(nn.Conv3d(before, 5, 1))
    theirs.eval()
    drawn(theirs)
    x = torch.randn(1, 3, 16, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        maps = theirs.base(x)
        expected = theirs.fc(F.avg_pool3d(maps, (2, *maps.shape[3:]), 1)).flatten(2).mean(2)
    check(create_model("s3d", num_classes=5, width=WIDTH), theirs.state_dict(), x, expected, HALF_RANGE)
