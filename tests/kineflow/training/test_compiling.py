import shutil

import pytest
import torch
from torch import nn

from kineflow.storage.errors import KineflowError
from kineflow.training.compiling import compile_in_place
from kineflow.training.distillation import Distillation, Teacher
from kineflow.training.settings import DistillSettings, RunSettings
from kineflow.training.trainer import Trainer

CPU = torch.device("cpu")
RUN = {"steps": 4, "validate_every_steps": 4, "batch_size": 3, "optimiser": {"name": "sgd", "learning_rate": 0.01}}


@pytest.mark.parametrize(("given", "device", "remedy"), [("on", "cpu", "C++"), ("graphs", "cuda", "Triton")])
def test_nothing_to_compile_with(monkeypatch, given, device, remedy):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(KineflowError, match=f"compile needs .*{remedy}"):
        compile_in_place(nn.Identity(), given, torch.device(device))
    compile_in_place(nn.Identity(), "off", torch.device(device))


@pytest.mark.long  # torch takes a minute to compile
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler here")
def test_a_compiled_distillation_is_that_of_an_eager_one(tiny_network, rgb, flow):
    """Dropout, normalisation and rows without a label among it; and names are those of the network alone."""
    ends = []
    for how in ("off", "graphs"):
        task = Distillation(
            tiny_network(), rgb, teachers=[Teacher(tiny_network(channels=2, seed=1), flow)],
            settings=DistillSettings(terms=[{}, {"loss": "kl", "temperature": 2.0, "schedule": "cosine"}]),
        )  # fmt: skip
        trainer = Trainer(task, RunSettings(**RUN, compile=how), seed=3, device=CPU, read_every=3)
        torch.manual_seed(0)
        for _ in range(4):
            rgb_clips, flow_clips = (torch.randint(0, 256, (3, n, 4, 8, 8), dtype=torch.uint8) for n in (3, 2))
            trainer.step({"rgb": rgb_clips, "flow": flow_clips, "label": torch.tensor([0, -1, 2])})
        ends.append((trainer.take_losses(), trainer.state_dict()["task"]))
    (losses, weights), (compiled_losses, compiled_weights) = ends
    assert len(losses) == 4
    for eager, compiled in zip(losses, compiled_losses, strict=True):
        assert compiled == pytest.approx(eager, abs=1e-4)
    assert compiled_weights.keys() == weights.keys()
    torch.testing.assert_close(compiled_weights, weights, rtol=0, atol=1e-4)
