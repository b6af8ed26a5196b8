"""Files of others by their tensors' names: whose they are, and the same tensors as our networks call them."""

from __future__ import annotations

from collections.abc import Collection

from kineflow.models.weight_sources.caffe_bn_inception import CAFFE_BN_INCEPTION
from kineflow.models.weight_sources.caffe_googlenet import CAFFE_GOOGLENET
from kineflow.models.weight_sources.caffe_resnet import CAFFE_RESNET
from kineflow.models.weight_sources.caffe_vgg import CAFFE_VGG16, JCJOHNSON_VGG16
from kineflow.models.weight_sources.huggingface_resnet import HUGGINGFACE_RESNET
from kineflow.models.weight_sources.kylemin_s3d import KYLEMIN_S3D
from kineflow.models.weight_sources.matconvnet import MATCONVNET_RESNET, MATCONVNET_ST_RESNET, MATCONVNET_VGG16
from kineflow.models.weight_sources.pytorch_tsn import MMACTION_TSN, TSN_PYTORCH_BN_INCEPTION, TSN_PYTORCH_RESNET
from kineflow.models.weight_sources.source import Source
from kineflow.models.weight_sources.theano_alstm import THEANO_ALSTM

SOURCES = (
    CAFFE_BN_INCEPTION,
    CAFFE_GOOGLENET,
    CAFFE_RESNET,
    CAFFE_VGG16,
    MATCONVNET_RESNET,
    MATCONVNET_ST_RESNET,
    MATCONVNET_VGG16,
    THEANO_ALSTM,
    TSN_PYTORCH_BN_INCEPTION,
    TSN_PYTORCH_RESNET,
    MMACTION_TSN,
    KYLEMIN_S3D,
    JCJOHNSON_VGG16,
    HUGGINGFACE_RESNET,
)


def source_of(names: Collection[str]) -> Source | None:
    """Whose file has tensors of these names; None where they are a network's own, or nobody's that is known."""
    return next((source for source in SOURCES if source.holds(names)), None)
