import pickle

import pytest
import torch

from kineflow.training.checkpoints import load_checkpoint, save_checkpoint


class Code:
    def __reduce__(self):
        return exec, ("raise SystemExit",)


def test_tensors_and_plain_values_come_back(tmp_path):
    state = {"steps_done": 3, "task": {"weight": torch.rand(2, 3)}, "best": {"highest": -float("inf")}}
    save_checkpoint(tmp_path / "last.ckpt", state)
    loaded = load_checkpoint(tmp_path / "last.ckpt")
    assert torch.equal(loaded["task"].pop("weight"), state["task"].pop("weight"))
    assert loaded == state


def test_a_file_that_would_run_code_is_refused(tmp_path):
    torch.save({"task": Code()}, tmp_path / "last.ckpt")
    with pytest.raises(pickle.UnpicklingError):
        load_checkpoint(tmp_path / "last.ckpt")
