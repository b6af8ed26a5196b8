"""Consistency: two networks are to say the same of a clip (Π-model, Laine & Aila 2017; Tarvainen & Valpola 2017)."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor


def consistency_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over clips and classes of (softmax(s) − softmax(t))² (mean teacher, §2, J(θ)), a scalar, float32.

    Args:
        student, teacher: Logits, float [B,K].
    """
    return F.mse_loss(student.float().softmax(dim=1), teacher.float().softmax(dim=1))


def ramp_up(steps_done: int, rise_steps: float) -> float:
    """exp(−5 (1 − t/T)²) up to T = ``rise_steps``, 1 from there on (Laine & Aila 2017, §3.1): from .0067."""
    if steps_done >= rise_steps:
        return 1.0
    return math.exp(-5 * (1 - steps_done / rise_steps) ** 2)
