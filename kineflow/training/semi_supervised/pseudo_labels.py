"""Pseudo-labels: what a network is sure of is a label to learn from (Lee 2013; FixMatch, Sohn et al. 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pseudo_labels(logits: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """The most probable class of each clip, and whether it is probable enough.

    q̂ = argmax q and 1[max q ≥ τ] with q = softmax(logits) (FixMatch §2.1, eq. 4).

    Args:
        logits: float [B,K].
        threshold: τ in 0..1; 0 takes every clip.

    Returns:
        int64 [B], 0..K-1, and bool [B].
    """
    probabilities, labels = logits.float().softmax(dim=1).max(dim=1)
    return labels, probabilities >= threshold


def pseudo_label_loss(logits: Tensor, labels: Tensor, confident: Tensor) -> Tensor:
    """1/B Σ_b 1[b is confident] · CE(logits_b, label_b) (FixMatch §2.1, eq. 4): the mean is over all clips.

    Args:
        logits: float [B,K], B of 1 or more.
        labels: int64 [B].
        confident: bool [B].

    Returns:
        A scalar, float32; 0 where no clip is confident.
    """
    losses = F.cross_entropy(logits.float(), labels, reduction="none")
    return torch.where(confident, losses, 0.0).mean()
