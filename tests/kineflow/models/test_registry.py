from __future__ import annotations

import subprocess
import sys

import pytest

from kineflow.models.registry import (
    create_backbone,
    create_model,
    hyperparameters_of,
    list_backbones,
    list_models,
    register_backbone,
    register_model,
)
from kineflow.storage.errors import KineflowError


def test_the_networks_are_listed_in_order() -> None:
    assert list_models() == sorted(list_models())
    assert {"s3d", "s3d_g"} <= set(list_models())


def test_the_backbones_are_listed_apart() -> None:
    assert list_backbones() == [
        "bn_inception", "efficientnet_lite0", "googlenet", "googlenet_caffe", "resnet50", "resnet50_caffe", "vgg16"
    ]  # fmt: skip
    assert not set(list_backbones()) & set(list_models())


def test_each_kind_is_told_from_the_other() -> None:
    with pytest.raises(KineflowError, match=r"'resnet50' is a backbone(.|\n)*s3d, s3d_g"):
        create_model("resnet50", num_classes=2)
    with pytest.raises(KineflowError, match=r"'s3d' is a network for clips(.|\n)*bn_inception, (.*, )?googlenet"):
        create_backbone("s3d")
    with pytest.raises(KineflowError, match=r"no network is called 'vgg'(.|\n)*vgg16"):
        create_backbone("vgg")


def test_a_backbone_is_headless_and_for_rgb_unless_told_otherwise() -> None:
    network = create_backbone("resnet50", width=0.125)
    assert (network.num_classes, network.stem.in_channels) == (0, 3)


def test_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(KineflowError, match=r"'s3dg'(.|\n)*s3d, s3d_g"):
        create_model("s3dg", num_classes=2)


def test_unknown_hyperparameter_is_answered_with_the_known_ones() -> None:
    with pytest.raises(KineflowError, match=r"'widht'(.|\n)*dropout(.|\n)*width"):
        create_model("s3d", num_classes=2, widht=0.5)


@pytest.mark.parametrize("wrong", [{"num_classes": -1}, {"num_classes": 2, "in_channels": 0}])
def test_impossible_ends_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(KineflowError, match="cannot have"):
        create_model("s3d", **wrong)


def test_hyperparameters_leave_out_what_every_network_has() -> None:
    known = hyperparameters_of("s3d_g")
    assert {"width", "dropout"} <= set(known)
    assert not {"num_classes", "in_channels"} & set(known)
    assert hyperparameters_of("vgg16") == ["dropout", "dropout_fc6", "output_stride", "width"]


def test_a_name_is_given_once() -> None:
    def s3d(**_: int) -> None: ...

    s3d.__module__ = "kineflow.models.another"
    create_model("s3d", num_classes=0, width=0.125)  # whose file is imported now
    for register in (register_model, register_backbone):
        with pytest.raises(ValueError, match="two networks"):
            register(s3d)  # type: ignore[type-var]


def test_importing_the_registry_imports_no_torch() -> None:
    code = "import sys, kineflow.models.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
