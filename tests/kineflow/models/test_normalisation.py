from __future__ import annotations

import numpy as np
import pytest

from kineflow.models.normalisation import CAFFE, CAFFE_TURNED, HALF_RANGE, TORCHVISION, Normalisation, normalisation_of
from kineflow.spec.preprocessing import Preprocessing

PIXELS = np.array([[0.0, 0.0, 0.0], [255.0, 255.0, 255.0], [200.0, 100.0, 50.0]])


def network_sees(normalisation: Normalisation) -> np.ndarray:
    ordered = PIXELS[:, ::-1] if normalisation.channel_order == "bgr" else PIXELS
    return (ordered - normalisation.mean) / normalisation.std


def torchvision_sees(mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    return (PIXELS / 255 - mean) / std


def test_torchvision_s_figures_in_units_of_255() -> None:
    expected = torchvision_sees((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    np.testing.assert_allclose(network_sees(TORCHVISION), expected)


def test_googlenet_s_transform_of_its_input_is_one_normalisation() -> None:
    usual = torchvision_sees((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    scale, shift = np.array([0.229, 0.224, 0.225]) / 0.5, (np.array([0.485, 0.456, 0.406]) - 0.5) / 0.5
    np.testing.assert_allclose(network_sees(HALF_RANGE), usual * scale + shift, atol=1e-12)


def test_caffe_s_figures_are_for_bgr() -> None:
    np.testing.assert_allclose(network_sees(CAFFE)[2], [50 - 104, 100 - 117, 200 - 123])


def test_vgg_with_turned_kernels_sees_caffe_s_values_as_rgb() -> None:
    expected = torchvision_sees((0.48235, 0.45882, 0.40784), (1 / 255,) * 3)
    np.testing.assert_allclose(network_sees(CAFFE_TURNED), expected, atol=1e-9)
    np.testing.assert_allclose(network_sees(CAFFE_TURNED), network_sees(CAFFE)[:, ::-1], atol=0.01)


@pytest.mark.parametrize(
    ("checkpoint", "expected"),
    [
        ("https://download.pytorch.org/models/vgg16-397923af.pth", TORCHVISION),
        ("https://download.pytorch.org/models/googlenet-1378be20.pth?download=1", HALF_RANGE),
        ("/data/weights/bn_inception-52deb4733.pth", CAFFE),
        ("bn_inception-9f5701afb96c8044.pth", CAFFE),
        ("mine.pth", None),
        ("", None),
    ],
)
def test_a_checkpoint_is_known_by_its_published_name(checkpoint: str, expected: Normalisation | None) -> None:
    assert normalisation_of(checkpoint) == expected


def test_s3d_s_figures_are_kinetics() -> None:
    s3d = normalisation_of("s3d-d76dad2f.pth")
    assert s3d is not None
    np.testing.assert_allclose(
        network_sees(s3d), torchvision_sees((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
    )


def test_flow_keeps_the_spread_of_the_pixels() -> None:
    assert CAFFE.of_flow(20) == ((127.5,) * 20, (1.0,) * 20)
    mean, std = TORCHVISION.of_flow(2, still=128.0)
    assert mean == (128.0, 128.0)
    assert std == pytest.approx((255 * 0.226,) * 2)


@pytest.mark.parametrize("normalisation", [TORCHVISION, HALF_RANGE, CAFFE, CAFFE_TURNED])
def test_figures_fit_a_bundle_s_preprocessing(normalisation: Normalisation) -> None:
    fields = {"mean": normalisation.mean, "std": normalisation.std, "channel_order": normalisation.channel_order}
    assert Preprocessing("rgb", 1, 1, 256, 224, **fields).channel_order == normalisation.channel_order
