"""The loss that everything is trained with unless another is named."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kineflow.training.losses.registry import register_loss


@register_loss
def cross_entropy(logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Mean over the clips of -log p_label, where each label shares ``label_smoothing`` with all classes."""
    return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
