"""A network that is taught by the average of what it was."""

from __future__ import annotations

import copy
from typing import Any, Self, cast

import torch
from torch import nn

from kineflow.spec.preprocessing import Preprocessing
from kineflow.training.semi_supervised.consistency import consistency_loss, ramp_up
from kineflow.training.semi_supervised.perturbation import Perturbation
from kineflow.training.semi_supervised.settings import MeanTeacherSettings
from kineflow.training.tasks import Batch, Classification, Losses
from kineflow.training.weight_average import AverageInto


class MeanTeacher(Classification):
    """Mean teacher (Tarvainen & Valpola 2017, §2).

    L = CE over labelled clips + w(t) · mean over all clips of (p(θ, A(x)) − p(θ', x))², θ' the average of θ over the
    steps before. Labelled clips are perturbed by A too, as in the paper, where both terms see what the student sees.
    Teachers stay in evaluation mode, with averaged statistics of normalisation, or their targets would move with every
    batch.

    Attributes:
        teacher: θ', which is validated and to be kept.

    Args:
        network: That learns, θ.
        preprocessing: Of its clips.
        settings: w, its rise, the decay of the average, and A.
        options: Of the loss of the labels, see :class:`Classification`.

    Raises:
        KineflowError: Clips of this modality cannot be perturbed so.
    """

    can_mix = False
    weight: torch.Tensor

    def __init__(
        self, network: nn.Module, preprocessing: Preprocessing, *, settings: MeanTeacherSettings, **options: Any
    ) -> None:
        teacher = copy.deepcopy(network)
        super().__init__(network, preprocessing, **options)
        self.settings, self.teacher = settings, teacher.requires_grad_(False)
        self.perturb = Perturbation(settings, preprocessing.modality)
        self.register_buffer("weight", torch.tensor(settings.weight), persistent=False)

    def train(self, mode: bool = True) -> Self:
        """Set the network's mode; the teacher's never changes."""
        super().train(mode)
        self.teacher.eval()
        return self

    def at_step(self, steps_done: int, of: int) -> None:
        """Let the weight of what the teacher says rise."""
        self.weight.fill_(self.settings.weight * ramp_up(steps_done, self.settings.rise_ratio * of))

    def after_step(self, steps_done: int) -> None:
        """Take the network's weights up into the teacher's."""
        AverageInto(self.network, self.teacher, self.settings.decay).update(steps_done)

    def logits(self, batch: Batch) -> torch.Tensor:
        """Logits [B,K] of the teacher."""
        logits: torch.Tensor = self.teacher(self.inputs(batch))
        return logits

    def loss(self, batch: Batch) -> Losses:
        """Scalar ``loss``, and ``consistency`` before its weight."""
        key = self.preprocessing.modality
        with torch.no_grad():
            says = self.logits(batch)
        seen = self.perturb(cast(dict[str, torch.Tensor], batch)[key])
        logits = self.network(self.inputs(cast(Batch, {key: seen})))
        label_loss, consistency = self.label_loss(logits, batch), consistency_loss(logits, says)
        return {
            "loss": label_loss + self.weight * consistency,
            self.label_term: label_loss.detach(),
            "consistency": consistency.detach(),
        }
