"""The papers' own files, and others that go by no name here: no publisher gives their SHA-256.

A table and nothing else. They are downloaded by hand, and converted by ``kineflow weights convert``.
"""

from __future__ import annotations

from dataclasses import dataclass

from kineflow.models.normalisation import CAFFE, CAFFE_VGG, HALF_RANGE, UNIT_RANGE
from kineflow.models.weights_table import TABLE

_TSN = "https://yjxiong.blob.core.windows.net"
_MATCONVNET = "https://www.vlfeat.org/matconvnet/models"
_ST_RESNET = "http://ftp.tugraz.at/pub/feichtenhofer/st-res/ts-base"
_NOT_STATED = "of the weights not stated"
_TSN_LICENCE = f"{_NOT_STATED} (code: BSD-2-Clause)"
_IN_THE_FILE = "the average image in the file, rgb"
_OF_FLOW = "flow, less 128"


@dataclass(frozen=True)
class Elsewhere:
    """A file that somebody has published.

    Attributes:
        file: Its name; of several, with their differences in braces.
        network: That it becomes.
        learnt: The set it has learnt, with as many ``classes``.
        url: Of the file, or of the page that has it.
        licence: As its publisher states it.
        takes: What its input is, in words.
    """

    file: str
    network: str
    learnt: str
    classes: int
    url: str
    licence: str
    takes: str


def _tsn(learnt: str, classes: int, stream: str) -> Elsewhere:
    file = f"{learnt.lower()}_split_{{1,2,3}}_tsn_{stream}_reference_bn_inception.caffemodel.v5"
    takes = str(CAFFE) if stream == "rgb" else f"5 frames of {_OF_FLOW}"
    return Elsewhere(file, "bn_inception", learnt, classes, f"{_TSN}/tsn-reference-models/{file}", _TSN_LICENCE, takes)


ELSEWHERE = (
    _tsn("UCF101", 101, "rgb"),
    _tsn("UCF101", 101, "flow"),
    _tsn("HMDB51", 51, "rgb"),
    _tsn("HMDB51", 51, "flow"),
    Elsewhere(
        file="ucf101-img-resnet50-split{1,2,3}-dr0.mat",
        network="resnet50_caffe",
        learnt="UCF101",
        classes=101,
        url=f"{_ST_RESNET}/ucf101-img-resnet50-split1-dr0.mat",
        licence=_NOT_STATED,
        takes=_IN_THE_FILE,
    ),
    Elsewhere(
        file="ucf101-resnet50-split{1,2,3}-dr0.8.mat",
        network="resnet50_caffe",
        learnt="UCF101",
        classes=101,
        url=f"{_ST_RESNET}/ucf101-resnet50-split1-dr0.8.mat",
        licence=_NOT_STATED,
        takes=f"10 frames of {_OF_FLOW}",
    ),
    Elsewhere(
        file="imagenet-resnet-50-dag.mat",
        network="resnet50_caffe",
        learnt="ImageNet",
        classes=1000,
        url=f"{_MATCONVNET}/imagenet-resnet-50-dag.mat",
        licence=_NOT_STATED,
        takes=_IN_THE_FILE,
    ),
    Elsewhere(
        file="imagenet-vgg-verydeep-16.mat",
        network="vgg16",
        learnt="ImageNet",
        classes=1000,
        url=f"{_MATCONVNET}/imagenet-vgg-verydeep-16.mat",
        licence=_NOT_STATED,
        takes=_IN_THE_FILE,
    ),
    Elsewhere(
        file="ResNet-50-model.caffemodel",
        network="resnet50_caffe",
        learnt="ImageNet",
        classes=1000,
        url="https://github.com/KaimingHe/deep-residual-networks",
        licence=_NOT_STATED,
        takes=str(CAFFE),
    ),
    Elsewhere(
        file="VGG_ILSVRC_16_layers.caffemodel",
        network="vgg16",
        learnt="ImageNet",
        classes=1000,
        url="http://www.robots.ox.ac.uk/~vgg/software/very_deep/caffe/VGG_ILSVRC_16_layers.caffemodel",
        licence="see http://www.robots.ox.ac.uk/~vgg/research/very_deep/",
        takes=str(CAFFE_VGG),
    ),
    Elsewhere(
        file="bvlc_googlenet.caffemodel",
        network="googlenet_caffe",
        learnt="ImageNet",
        classes=1000,
        url="http://dl.caffe.berkeleyvision.org/bvlc_googlenet.caffemodel",
        licence="unrestricted use (BVLC)",
        takes=str(CAFFE),
    ),
    Elsewhere(
        file="S3D_kinetics400.pt",
        network="s3d",
        learnt="Kinetics-400",
        classes=400,
        url="https://github.com/kylemin/S3D",
        licence="MIT",
        takes=str(HALF_RANGE),
    ),
    Elsewhere(
        file="d3d_kinetics_400/model.ckpt.index",
        network="s3d_g_tensorflow",
        learnt="Kinetics-400",
        classes=400,
        url="https://github.com/princeton-vl/d3dhelper",
        licence=_NOT_STATED,
        takes=str(UNIT_RANGE),
    ),
)


def licence_of(file: str) -> str:
    """The licence of a published file, as far as its name tells; empty of any other."""
    named = {row.file: row.licence for row in TABLE}
    for row in ELSEWHERE:
        named |= dict.fromkeys(_files_of(row.file), row.licence)
    return named.get(file, "")


def _files_of(pattern: str) -> list[str]:
    """Names of the files; TSN's own script saves them without the ending."""
    before, braces, rest = pattern.partition("{")
    options, _, after = rest.partition("}")
    names = [f"{before}{option}{after}" for option in options.split(",")] if braces else [pattern]
    return [*names, *(name.removesuffix(".v5") for name in names)]
