"""What each published checkpoint takes for its input: the figures that go into a bundle's preprocessing with it.

All figures are in units of 0..255. Networks see (x − mean) / std, so that what differs between libraries (a range of
0..1, a transform inside the network, colours as BGR) is a matter of these figures alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Literal
from urllib.parse import urlsplit

from kineflow.storage.errors import KineflowError


@dataclass(frozen=True)
class Normalisation:
    """How RGB frames become a network's input; the fields of the same names in :class:`Preprocessing`."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    channel_order: Literal["rgb", "bgr"] = "rgb"

    def __str__(self) -> str:
        mean, std = (", ".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        return f"mean {mean}, std {std}, {self.channel_order}"

    def of_flow(self, channels: int, *, still: float = 127.5) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and std for a network of ``channels`` flow channels that starts from these weights.

        Flow is quantised to 0..255 as pixels are, so that it may keep their spread: the mean of the three, as in
        tsn-pytorch. ``still`` is the level of no motion (128 in the papers; 127.5 keeps mirrored clips symmetric).
        """
        return (still,) * channels, (sum(self.std) / 3,) * channels


FROM_SCRATCH = Normalisation(mean=(114.75,) * 3, std=(57.375,) * 3)
"""Of networks for clips that start from nothing: .45 and .225 of the range."""

TORCHVISION = Normalisation(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
"""ImageNet's mean and deviation, with which torchvision trains."""

HALF_RANGE = Normalisation(mean=(127.5,) * 3, std=(127.5,) * 3)
"""−1..1, of weights that come from TensorFlow. Torchvision's GoogLeNet is one of them: it turns its library's usual
input into this within the network (``transform_input``)."""

UNIT_RANGE = Normalisation(mean=(0.0,) * 3, std=(255.0,) * 3)
"""0..1, of the published D3D."""

CAFFE = Normalisation(mean=(104.0, 117.0, 123.0), std=(1.0,) * 3, channel_order="bgr")
"""BGR less the mean pixel, not scaled. (Cadene's library and tsn-pytorch write 128 for red, a slip.)"""

CAFFE_VGG = Normalisation(mean=(103.939, 116.779, 123.68), std=(1.0,) * 3, channel_order="bgr")
"""The same, with the mean pixel that VGG-16's authors give."""

TSN_PYTORCH = Normalisation(mean=(104.0, 117.0, 128.0), std=(1.0,) * 3, channel_order="bgr")
"""Of networks on BN-Inception that tsn-pytorch has trained, with its slip."""

CAFFE_TURNED = Normalisation(mean=(122.99925, 116.9991, 103.9992), std=(1.0,) * 3)
"""Caffe's range for colours as RGB: torchvision's other VGG-16, whose first kernels were turned round. Its fully
connected layers hold no numbers, so that it serves for ``pool5`` only."""

LITE = Normalisation(mean=(127.0,) * 3, std=(128.0,) * 3)
"""Of EfficientNet-Lite, whose authors had 8-bit arithmetic in mind."""

KINETICS = Normalisation(mean=(110.2008, 100.63983, 95.99475), std=(58.14765, 56.46975, 55.332195))
"""Kinetics' mean and deviation, with which torchvision's S3D was trained."""

_BY_CHECKPOINT = MappingProxyType(
    {
        "efficientnet-lite0-57934424": LITE,
        "vgg16-397923af": TORCHVISION,
        "vgg16-00b39a1b": CAFFE_VGG,  # jcjohnson's
        "vgg16_features-amdegroot-88682ab5": CAFFE_TURNED,
        "googlenet-1378be20": HALF_RANGE,
        "resnet50-19c8e357": TORCHVISION,
        "resnet50-0676ba61": TORCHVISION,
        "resnet50-11ad3fa6": TORCHVISION,
        "resnet50_a1_0-14fe96d1": TORCHVISION,  # timm's
        "tsn_r50_320p_1x1x8_100e_kinetics400_rgb_20200702-ef80e3d7": TORCHVISION,  # mmaction2's
        "tsn_r50_1x1x3_75e_ucf101_rgb_20201023-d85ab600": TORCHVISION,
        "bn_inception-52deb4733": CAFFE,  # Cadene's
        "bn_inception-9f5701afb96c8044": CAFFE,  # tsn-pytorch's
        "s3d-d76dad2f": KINETICS,
    }
)


def normalisation_of(checkpoint: str, sha256: str = "") -> Normalisation | None:
    """What a published checkpoint takes, told by the name of its file or by its bytes; None if that is unknown.

    Args:
        checkpoint: Its URL, or a path with the name it was published under.
        sha256: Hex, of the file, which may then have any name; empty where it is not known.
    """
    return _BY_CHECKPOINT.get(_stem(checkpoint)) or next(
        (takes for name, takes in _BY_CHECKPOINT.items() if sha256.lower().startswith(_digits(name))), None
    )


def published_digits(checkpoint: str) -> str:
    """First digits of a published file's SHA-256, which stand in its name; empty for another name.

    A file in another form, such as ``.safetensors``, has other bytes and may keep the name.
    """
    name = PurePosixPath(urlsplit(checkpoint).path)
    return _digits(name.stem) if name.stem in _BY_CHECKPOINT and name.suffix == ".pth" else ""


def mismatch(chosen: Normalisation, known: Normalisation | None) -> str:
    """How a normalisation that was asked for differs from the one that weights are known to take; empty if not."""
    if known is None or chosen == known:
        return ""
    return f"frames are normalised by {chosen}, and these weights take {known}"


def unknown_input(checkpoint: str, remedy: str) -> KineflowError:
    """The error to raise where nothing says what the weights of a checkpoint take."""
    from kineflow.models.download import display_name

    return KineflowError(f"nothing is known of the input that {display_name(checkpoint)} takes", remedy=remedy)


def _stem(checkpoint: str) -> str:
    return PurePosixPath(urlsplit(checkpoint).path).stem


def _digits(name: str) -> str:
    return name.rpartition("-")[2]
