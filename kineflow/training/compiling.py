"""Compiling a training step: torch.compile fuses what lies between convolutions and products, and may record CUDA
graphs, which spare a GPU the waiting for its host."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
from typing import Any

import torch
from torch import nn

from kineflow.storage.errors import KineflowError
from kineflow.training.settings import Compile

_LOG = logging.getLogger(__name__)
_CPU_COMPILERS = ("g++", "clang++")


def compile_in_place(module: nn.Module, how: Compile, device: torch.device) -> None:
    """Have a module compiled at its next call, forward and backward; its parameters keep their names.

    Dropout draws what it draws uncompiled. On a CPU there are no graphs to record: ``graphs`` is ``on``.

    Raises:
        KineflowError: There is nothing to compile with.
    """
    if how == "off":
        return
    _require_compiler(device)
    _LOG.info("the first step is compiled, which takes from half a minute to some minutes")
    # Sizes of batches never change, and to be ready for others costs speed.
    options: dict[str, Any] = {"fallback_random": True, "triton.cudagraphs": how == "graphs"}
    module.compile(dynamic=False, options=options)


def begin_step(how: Compile) -> None:
    """Say that the outputs of the last step's graphs are not needed any more."""
    if how == "graphs":
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]


def _require_compiler(device: torch.device) -> None:
    if device.type == "cuda":
        if importlib.util.find_spec("triton") is None:
            raise _nothing_to_compile_with("Triton", "install kineflow[gpu]")
        return
    compilers = (os.environ["CXX"],) if os.environ.get("CXX") else _CPU_COMPILERS
    if not any(map(shutil.which, compilers)):
        raise _nothing_to_compile_with("a C++ compiler (g++ or clang++)", "install one")


def _nothing_to_compile_with(missing: str, remedy: str) -> KineflowError:
    return KineflowError(f"compile needs {missing}, and there is none here", remedy=f"{remedy}, or set compile to off")
