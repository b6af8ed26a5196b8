import pytest
import torch

from kineflow.models.registry import create_backbone, create_model

NETWORKS = {
    "s3d": lambda: (create_model("s3d", num_classes=2, width=0.125), torch.randn(16, 3, 8, 16, 16)),
    "tsn": lambda: (create_model("tsn", num_classes=2, width=0.125), torch.randn(16, 3, 3, 32, 32)),
    "resnet50": lambda: (create_backbone("resnet50", num_classes=2, width=0.125), torch.randn(16, 3, 64, 64)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_convolution_works_channels_last_whatever_it_is_given(name: str) -> None:
    torch.manual_seed(0)
    network, images = NETWORKS[name]()
    layouts = {2: torch.channels_last, 3: torch.channels_last_3d}
    seen = []
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Conv3d):
            layer.register_forward_hook(
                lambda layer, inputs, output: seen.append(
                    output.is_contiguous(memory_format=layouts[len(layer.kernel_size)])
                )
            )
    with torch.no_grad():
        network.eval()(images)
    assert seen
    assert all(seen)
