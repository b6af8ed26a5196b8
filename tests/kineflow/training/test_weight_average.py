"""The average of a training's weights, held against its equation."""

from __future__ import annotations

import torch

from kineflow.training.settings import TrainSettings
from kineflow.training.tasks import Classification
from kineflow.training.trainer import Trainer

DECAY = 0.4


def test_it_is_what_the_equation_says_of_weights_and_statistics(tiny_network, rgb):
    settings = TrainSettings(steps=6, validate_every_steps=6, batch_size=2, frames=4, ema=DECAY)
    trainer = Trainer(Classification(tiny_network(), rgb), settings, seed=0, device=torch.device("cpu"))
    network = trainer.task.network
    expected = {name: value.double() for name, value in network.state_dict().items()}
    torch.manual_seed(0)
    for step in range(1, 7):
        clips = torch.randint(256, (2, 3, 4, 8, 8), dtype=torch.uint8)
        trainer.step({"rgb": clips, "label": torch.tensor([0, 2])})
        decay = min(DECAY, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * value if value.is_floating_point() else value
    learnt = {name: value.clone() for name, value in network.state_dict().items()}
    with trainer.judged_weights():
        judged = network.state_dict()
        wanted = {name: expected[name].to(value.dtype) for name, value in judged.items()}
        torch.testing.assert_close(dict(judged), wanted, rtol=1e-5, atol=1e-7)
        assert not torch.equal(network.conv.weight, learnt["conv.weight"])
    assert all(torch.equal(value, learnt[name]) for name, value in network.state_dict().items())
