"""How the logits of a video's views, crops of its windows, become its scores."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from kineflow.evaluation.view_protocol import ViewAggregation
from kineflow.spec.classes import several_classes

_NEVER = 1e-9  # stands in for the share of a class without a vote, whose logarithm would not be finite


def aggregate_views(
    logits: Tensor, *, how: ViewAggregation = "average", before_softmax: bool = False, multi_label: bool = False
) -> Tensor:
    """Scores [N,K] of N videos, whose softmax is the aggregate of their views, from the logits [N,V,K] of these.

    Args:
        logits: Of each view.
        how: ``average``: the mean of the views' probabilities. ``logits``: that of the logits themselves. ``majority``:
            the share of views whose best class it is, so that the best class is their mode (of equal ones, the lowest
            class).
        before_softmax: Whether ``average`` is of the logits too, as for networks of snippets.
        multi_label: Whether probabilities are sigmoids, of each class by itself, and not a softmax.

    Raises:
        KineflowError: Views are to vote for one class, where clips may be of several.
    """
    if how == "majority" and multi_label:
        raise several_classes("view_aggregation: majority")
    if how == "majority":
        classes = logits.shape[2]
        shares = F.one_hot(logits.argmax(dim=2), classes).float().mean(dim=1)
        return shares.clamp(min=_NEVER).log()
    if before_softmax or how == "logits":
        return logits.mean(dim=1)
    if multi_label:
        yes, no = F.logsigmoid(logits), F.logsigmoid(-logits)
        return yes.logsumexp(dim=1) - no.logsumexp(dim=1)
    return torch.log_softmax(logits, dim=2).logsumexp(dim=1) - math.log(logits.shape[1])
