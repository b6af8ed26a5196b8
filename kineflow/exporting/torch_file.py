"""torch's own exported programs: a ``.pt2`` file, which ``torch.export.load`` reads without the network's code."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram


def write_program(program: ExportedProgram, path: Path) -> None:
    """Write a program, without the clips that it was traced with."""
    program.example_inputs = None
    torch.export.save(program, path)


def run_program(path: Path, clips: Tensor) -> tuple[Tensor, ...]:
    """The outputs of a program that :func:`write_program` wrote, on the CPU."""
    with torch.no_grad():
        return tuple(torch.export.load(path).module()(clips))
