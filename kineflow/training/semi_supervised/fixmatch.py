"""A network that teaches itself by what it is sure of."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn

from kineflow.spec.preprocessing import Preprocessing
from kineflow.training.semi_supervised.perturbation import Perturbation
from kineflow.training.semi_supervised.pseudo_labels import pseudo_label_loss, pseudo_labels
from kineflow.training.semi_supervised.rows import unlabelled_rows
from kineflow.training.semi_supervised.settings import FixMatchSettings
from kineflow.training.tasks import Batch, Classification, Losses


class FixMatch(Classification):
    """FixMatch (Sohn et al. 2020, §2.1, eq. 3 and 4; algorithm 1).

    L = CE over labelled clips + λ_u · 1/B Σ_b 1[max q_b ≥ τ] · CE(p(A(u_b)), argmax q_b), q_b = p(α(u_b)), over
    unlabelled clips u_b. α is how training shows a clip, and A(u) the same window and crop, perturbed. q has no
    gradient. It is computed as in training, from a batch of its own, so that normalisation learns from both views.
    Where nothing is perturbed, q and p are the same logits.

    Args:
        network: That learns.
        preprocessing: Of its clips.
        settings: λ_u, τ, and A.
        options: Of the loss of the labels, see :class:`Classification`.

    Raises:
        KineflowError: Clips of this modality cannot be perturbed so.
    """

    can_mix = False

    def __init__(
        self, network: nn.Module, preprocessing: Preprocessing, *, settings: FixMatchSettings, **options: Any
    ) -> None:
        super().__init__(network, preprocessing, **options)
        self.settings = settings
        self.perturb = Perturbation(settings, preprocessing.modality)

    def loss(self, batch: Batch) -> Losses:
        """Scalar ``loss``; ``pseudo_label`` before its weight; ``confident``, the share of clips that are."""
        rows, key = unlabelled_rows(batch), self.preprocessing.modality
        clips = cast(dict[str, torch.Tensor], batch)[key]
        if self.settings.perturbs:
            with torch.no_grad():
                says = self.network(self.inputs(cast(Batch, {key: clips[rows]})))
            seen = clips.float().index_copy(0, rows, self.perturb(clips[rows]))
            logits = self.network(self.inputs(cast(Batch, {key: seen})))
        else:
            logits = self.network(self.inputs(batch))
            says = logits[rows].detach()
        label_loss = self.label_loss(logits, batch)
        labels, confident = pseudo_labels(says, self.settings.threshold)
        unlabelled_loss = pseudo_label_loss(logits[rows], labels, confident)
        return {
            "loss": label_loss + self.settings.weight * unlabelled_loss,
            self.label_term: label_loss.detach(),
            "pseudo_label": unlabelled_loss.detach(),
            "confident": confident.float().mean(),
        }
