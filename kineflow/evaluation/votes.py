"""How the answers of a video's windows become one answer."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Vote = Literal["average", "majority"]

_NEVER = 1e-9  # stands in for the share of a class without a vote, whose logarithm would not be finite


def joint_scores(answers: Tensor, *, vote: Vote = "average", before_softmax: bool = False) -> Tensor:
    """Scores [N,K] of N videos whose softmax is the joint answer of their windows [N,V,K], logits.

    Args:
        answers: One a window.
        vote: ``average``: the mean of the windows' probabilities. ``majority``: the share of windows whose best class
            it is, so that the best class is their mode (of equal ones, the lowest class).
        before_softmax: Average the logits themselves; for ``average`` only.
    """
    if vote == "majority":
        classes = answers.shape[2]
        shares = F.one_hot(answers.argmax(dim=2), classes).float().mean(dim=1)
        return shares.clamp(min=_NEVER).log()
    if before_softmax:
        return answers.mean(dim=1)
    return torch.log_softmax(answers, dim=2).logsumexp(dim=1) - math.log(answers.shape[1])
