import torch
from torch import nn

from kineflow.models.folding import fold_norms
from kineflow.models.registry import create_model


def test_a_folded_network_answers_as_before_without_its_norms() -> None:
    torch.manual_seed(0)
    network = create_model("s3d_g", num_classes=5, width=0.125, last_stage="Mixed3c")
    clips = torch.randn(2, 3, 8, 32, 32)
    with torch.no_grad():
        for _ in range(3):  # statistics that are not 0 and 1
            network(clips)
        before = network.eval()(clips)
        fold_norms(network)
        after = network(clips)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-6)
    assert not any(isinstance(layer, nn.BatchNorm3d) for layer in network.modules())
