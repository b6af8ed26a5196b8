"""The task of networks that answer at every step (ALSTM, VideoLSTM), on features that were computed before."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from kineflow.models.frame_networks import FrameNetwork
from kineflow.models.recurrent import SequenceNetwork
from kineflow.spec.preprocessing import Preprocessing
from kineflow.training.attention_losses import (
    doubly_stochastic_penalty,
    squared_norm,
    step_cross_entropy,
    step_multi_label_loss,
)
from kineflow.training.feature_dataset import LABEL, TARGETS
from kineflow.training.recurrent_settings import RecurrentSettings
from kineflow.training.tasks import Classification, Losses


class StepwiseClassification(Classification):
    """Every step of a clip has to name its class; attention and weights may cost something too::

        L = Σ_t CE_t + λ Σ_i (1 - Σ_t l_{t,i})² + γ Σ θ²        (ALSTM §3.3)

    θ are the weights of the sequence network. With ``multi_label`` each CE_t is a sum of binary cross entropies.

    Args:
        network: Its backbones are not run: batches hold their features, by the names of the sequence network's inputs.
        preprocessing: Of the clips that the whole network takes.
        settings: λ, γ, and what is summed or averaged.
    """

    can_mix = False

    def __init__(self, network: FrameNetwork, preprocessing: Preprocessing, settings: RecurrentSettings) -> None:
        super().__init__(network, preprocessing)
        self.settings = settings
        self.multi_label = self._sequence.multi_label

    def loss(self, batch: Any) -> Losses:
        """Scalar ``loss`` to be minimised, and its terms before they are weighted."""
        network, settings = self._sequence, self.settings
        logits, attention = network.forward_steps(*self._features(batch))
        if network.multi_label:
            loss = step_multi_label_loss(logits, self.truth(batch), reduction=settings.reduction)
        else:
            loss = step_cross_entropy(logits, batch[LABEL], reduction=settings.reduction)
        loss = self._over_parts(loss)
        losses = {"cross_entropy": loss.detach()}
        if attention is not None:
            penalty = doubly_stochastic_penalty(attention, cells=settings.penalty_cells, reduction=settings.reduction)
            penalty = self._over_parts(penalty)
            losses["attention_penalty"] = penalty.detach()
            loss = loss + settings.attention_penalty * penalty
        if settings.l2:
            loss = loss + settings.l2 * squared_norm(network.parameters())
        return {"loss": loss, **losses}

    def logits(self, batch: Any) -> Tensor:
        """Logits [B, K] of whole clips, from their features."""
        logits: Tensor = self._sequence(*self._features(batch))
        return logits

    def truth(self, batch: Any) -> Tensor:
        """See :meth:`Classification.truth`; with ``multi_label`` 1 for each class of a clip, else 0, float [B,K]."""
        if not self._sequence.multi_label:
            return super().truth(batch)
        targets: Tensor = batch[TARGETS] if TARGETS in batch else F.one_hot(batch[LABEL], self._sequence.num_classes)
        return targets.float()

    def figures(self, logits: Tensor, truth: Tensor) -> dict[str, float]:
        """See :meth:`Classification.figures`; with ``multi_label`` a best class is right that is one of the clip's."""
        if not self._sequence.multi_label:
            return super().figures(logits, truth)
        right = truth.gather(1, logits.argmax(dim=1, keepdim=True)).mean()
        loss = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").sum(dim=1).mean()
        return {"val/top1": float(right), "val/loss": float(loss)}

    def _over_parts(self, of_part: Tensor) -> Tensor:
        """Of the losses of a batch's parts the mean is taken: what is to be a sum over clips weighs so much more."""
        return of_part * self.parts if self.settings.reduction == "sum" else of_part

    @property
    def _sequence(self) -> SequenceNetwork:
        network: Any = self.network
        sequence: SequenceNetwork = network.sequence
        return sequence

    def _features(self, batch: Any) -> tuple[Tensor, ...]:
        return tuple(batch[name] for name in self._sequence.inputs)
