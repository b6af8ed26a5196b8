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


def test_what_does_not_follow_directly_is_left_alone() -> None:
    class Standardised(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self._conv_forward(x, self.weight / self.weight.std(), self.bias)

    torch.manual_seed(0)
    relu = nn.ReLU()  # one layer at two places
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), relu, nn.Conv2d(4, 4, 3), relu, nn.BatchNorm2d(4),
        Standardised(4, 4, 3), nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, track_running_stats=False),
        nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3)), nn.BatchNorm2d(4),
    )  # fmt: skip
    images = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        network(images)
        before = network.eval()(images)
        fold_norms(network)
        torch.testing.assert_close(network(images), before, rtol=1e-4, atol=1e-5)
    assert [type(layer) for layer in network[:2]] == [nn.Conv2d, nn.Identity]
