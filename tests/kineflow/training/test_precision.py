import pytest
import torch

from kineflow.training.precision import reduced_precision


@pytest.mark.parametrize(
    ("precision", "on_cpu", "on_gpu"),
    [("32", None, None), ("bf16", torch.bfloat16, torch.bfloat16), ("16", torch.bfloat16, torch.float16)],
)
def test_what_is_computed_in_fewer_bits(precision, on_cpu, on_gpu):
    assert reduced_precision(precision, torch.device("cpu")) == on_cpu
    assert reduced_precision(precision, torch.device("cuda")) == on_gpu


@pytest.mark.parametrize("has_bf16", [True, False])
def test_auto_is_bfloat16_on_a_gpu_that_has_it(monkeypatch, has_bf16):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bf16)
    assert reduced_precision("auto", torch.device("cuda")) == (torch.bfloat16 if has_bf16 else None)
    assert reduced_precision("auto", torch.device("cpu")) is None


@pytest.mark.parametrize("capabilities", [{}, {"avx512_bf16": True}, {"amx_bf16": True}])
def test_a_cpu_that_imitates_bfloat16_is_warned_of(monkeypatch, caplog, capabilities):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    reduced_precision("bf16", torch.device("cpu"))
    assert ("20 times slower" in caplog.text) == (not capabilities)
