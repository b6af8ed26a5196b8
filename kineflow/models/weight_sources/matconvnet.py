"""MatConvNet's networks: its ResNet-50 and VGG-16 of ImageNet, and ST-ResNet's, whose authors trained them on.

https://www.vlfeat.org/matconvnet/pretrained/, https://github.com/feichtenhofer/st-resnet. They were made of Caffe's,
with the first kernels turned to RGB. Kernels are [h,w,in,out]. A joined ST-ResNet has both streams' parameters, ending
in ``_spatial`` and ``_temporal``; its kernels over time are [1,3,in,out].
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from kineflow.models.normalisation import Normalisation
from kineflow.models.weight_formats.matconvnet import AVERAGE_IMAGE
from kineflow.models.weight_sources import resnet_names, vgg_names
from kineflow.models.weight_sources.normalisation_layers import from_moments, without_bias
from kineflow.models.weight_sources.source import Source, Tensors

if TYPE_CHECKING:
    from torch import Tensor

_FILTER, _BIAS, _MULT, _MOMENTS = "_filter", "_bias", "_mult", "_moments"
_STREAMS = {"_spatial": "appearance", "_temporal": "motion"}
_OVER_TIME = (1, 3)


def _is_resnet(names: Collection[str]) -> bool:
    return {"conv1_filter", "res2a_branch2a_filter", "bn2a_branch2a_moments"} <= set(names)


def _is_vgg(names: Collection[str]) -> bool:
    return {"conv1_1_filter", "conv5_3_filter", "fc6_filter"} <= set(names) and "conv5_4_filter" not in names


def _is_joined(names: Collection[str]) -> bool:
    return {f"conv1_filter{ending}" for ending in _STREAMS} | {"res2b_branch2a_filter_spatial"} <= set(names)


def _resnet(tensors: Tensors) -> dict[str, Tensor]:
    """Of one stream, by torchvision's names."""
    renamed: dict[str, Tensor] = {}
    convolutions = {name.removesuffix(_FILTER) for name in tensors if name.endswith(_FILTER)}
    heads = {layer for layer in convolutions if not resnet_names.torch_name(layer)}
    for name, tensor in tensors.items():
        layer = name.removesuffix(_FILTER).removesuffix(_BIAS).removesuffix(_MULT).removesuffix(_MOMENTS)
        own = "fc" if heads == {layer} else resnet_names.torch_name(layer)
        if name == AVERAGE_IMAGE:
            continue
        if not own:
            renamed[name] = tensor
        elif layer in convolutions:
            renamed |= _convolution(name, own, tensor, is_linear=own == "fc")
        elif name.endswith(_MOMENTS):
            renamed |= from_moments(own, tensor, tensors[f"{layer}{_MULT}"], tensors[f"{layer}{_BIAS}"])
    without_bias(renamed, "conv1", "bn1")
    return renamed


def _vgg(tensors: Tensors) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        own = vgg_names.torch_name(name.removesuffix(_FILTER).removesuffix(_BIAS))
        if own:
            renamed |= _convolution(name, own, tensor, is_linear=own.startswith("classifier"))
        elif name != AVERAGE_IMAGE:
            renamed[name] = tensor
    return renamed


def _joined(tensors: Tensors) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for ending, stream in _STREAMS.items():
        of_stream = {name.removesuffix(ending): tensor for name, tensor in tensors.items() if name.endswith(ending)}
        for name, tensor in _resnet(of_stream).items():
            head = name.startswith("fc.")
            renamed[f"classifier.{stream}{name[2:]}" if head else f"{stream}.{name}"] = tensor
    others = tensors.keys() - {AVERAGE_IMAGE}
    return renamed | {name: tensors[name] for name in others if not name.endswith(tuple(_STREAMS))}


def _convolution(name: str, own: str, tensor: Tensor, *, is_linear: bool) -> dict[str, Tensor]:
    if not name.endswith(_FILTER):
        return {f"{own}.bias": tensor.flatten()}
    height, width, *channels = tensor.shape
    kernel = tensor.reshape(height, width, *channels, *[1] * (2 - len(channels))).permute(3, 2, 0, 1)
    if (height, width) == _OVER_TIME:
        kernel = kernel.transpose(2, 3)
    return {f"{own}.weight": kernel.flatten(1) if is_linear else kernel}


def _takes(key: str) -> Callable[[Tensors], Normalisation | None]:
    """Of a file by its average image, whose last channels are those of the frame; ``key`` is its first kernel."""

    def takes(tensors: Tensors) -> Normalisation | None:
        average = tensors.get(AVERAGE_IMAGE)
        if average is None or tensors[key].ndim < 3 or tensors[key].shape[2] != 3:
            return None
        channels = average.flatten() if average.numel() == average.shape[-1] else average.flatten(0, -2).mean(dim=0)
        if len(channels) < 3:
            return None
        red, green, blue = (round(float(value), 3) for value in channels[-3:])
        return Normalisation((red, green, blue), (1.0, 1.0, 1.0))

    return takes


MATCONVNET_RESNET = Source("ResNet-50 of MatConvNet", "resnet50_caffe", _is_resnet, _resnet, _takes("conv1_filter"))
MATCONVNET_VGG16 = Source("VGG-16 of MatConvNet", "vgg16", _is_vgg, _vgg, _takes("conv1_1_filter"))
MATCONVNET_ST_RESNET = Source(
    "the authors' joined ST-ResNet", "st_resnet", _is_joined, _joined, _takes("conv1_filter_spatial")
)
