"""TSN's consensus: what the snippets of a video say together (Wang et al., ECCV 2016, §3.1; PAMI 2018, §3.2)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from kineflow.storage.errors import KineflowError

ConsensusName = Literal["average", "max", "weighted"]


class Consensus(nn.Module):
    """G: scores of n snippets [B,n,K] to scores of the video [B,K], before any softmax.

    ``average``: their mean. ``max``: of each class, that of the snippet surest of it, which alone gets the gradient.
    ``weighted``: Σ_k ω_k F_k, one learnt ω a segment, 1/n at first.

    Args:
        name: Which.
        segments: Snippets that a weighted consensus weighs.
    """

    def __init__(self, name: str, segments: int) -> None:
        super().__init__()
        self.name = name
        if name == "weighted":
            self.weights = nn.Parameter(torch.full((segments,), 1 / segments))

    def forward(self, scores: Tensor) -> Tensor:
        """[B,n,K] → [B,K].

        A weighted consensus takes a single snippet as well, for a video whose snippets all say the same: Σ ω_k · F.

        Raises:
            KineflowError: There are no weights for n snippets.
        """
        if self.name == "average":
            return scores.mean(dim=1)
        if self.name == "max":
            return scores.amax(dim=1)
        snippets = scores.shape[1]
        if snippets == 1:
            return scores[:, 0] * self.weights.sum()
        if snippets != len(self.weights):
            raise KineflowError(
                f"a weighted consensus of {len(self.weights)} segments cannot weigh {snippets} snippets",
                remedy="give the network as many snippets as it has segments, or one",
            )
        return torch.einsum("bnk,n->bk", scores, self.weights)
