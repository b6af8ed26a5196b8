"""What is learnt: a task owns a network and its loss, and knows nothing of the loop around it."""

from __future__ import annotations

from typing import Any, Self, cast

import torch
import torch.nn.functional as F
from torch import nn

from kineflow.data.dataset import Sample
from kineflow.data.transforms import normalise
from kineflow.spec.preprocessing import Preprocessing
from kineflow.training.partial_norms import freeze_affine, freeze_statistics
from kineflow.training.settings import DistillSettings, PartialNorms

Batch = Sample  # collated: every tensor has a leading batch dimension
Losses = dict[str, torch.Tensor]


class Classification(nn.Module):
    """Cross entropy on labelled clips.

    Args:
        network: From clips [B, C, T, S, S] to logits [B, K].
        preprocessing: Says which modality the network reads and how it is normalised.
        label_smoothing: Of the cross entropy.
        partial_norms: What of the network's later batch normalisations is frozen.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        *,
        label_smoothing: float = 0.0,
        partial_norms: PartialNorms = "off",
    ) -> None:
        super().__init__()
        self.network, self.preprocessing, self.label_smoothing = network, preprocessing, label_smoothing
        self.partial_norms = partial_norms
        if partial_norms == "affine":
            freeze_affine(network)

    def train(self, mode: bool = True) -> Self:
        """Set the network's mode; frozen statistics stay frozen."""
        super().train(mode)
        if self.partial_norms != "off":
            freeze_statistics(self.network)
        return self

    def inputs(self, batch: Batch) -> torch.Tensor:
        """Normalised clips [B, C, T, S, S] of this task's modality."""
        return network_input(batch, self.preprocessing)

    def logits(self, batch: Batch) -> torch.Tensor:
        """Logits [B, K] that validation judges."""
        logits: torch.Tensor = self.network(self.inputs(batch))
        return logits

    def loss(self, batch: Batch) -> Losses:
        """Scalar ``loss`` to be minimised, and its terms."""
        loss = self.label_loss(self.network(self.inputs(batch)), batch["label"])
        return {"loss": loss, "cross_entropy": loss.detach()}

    def label_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean cross entropy over the labelled rows [B, K]; 0 when there are none."""
        labelled = labels >= 0
        if not labelled.any():
            return logits.sum() * 0.0
        return F.cross_entropy(logits[labelled], labels[labelled], label_smoothing=self.label_smoothing)


class Distillation(Classification):
    """A frozen teacher of one modality instructs a student of another (D3D, Stroud et al. 2020, §3).

    L = w · CE(f_s, y) + λ · MSE(f_s, f_t), f the logits (or the pooled features). The first term is over labelled clips
    and the second over all: a teacher needs no label to teach. The teacher stays in evaluation mode, or its targets
    would move with every batch.

    Args:
        network: The student.
        teacher: Network of another modality with as many classes (or features) as the student.
        teacher_preprocessing: How the teacher's modality is normalised.
        settings: λ, w and the layer.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        *,
        teacher: nn.Module,
        teacher_preprocessing: Preprocessing,
        settings: DistillSettings,
        label_smoothing: float = 0.0,
        partial_norms: PartialNorms = "off",
    ) -> None:
        super().__init__(network, preprocessing, label_smoothing=label_smoothing, partial_norms=partial_norms)
        self.teacher = teacher.eval().requires_grad_(False)
        self.teacher_preprocessing, self.settings = teacher_preprocessing, settings

    def train(self, mode: bool = True) -> Self:
        """Set the student's mode; the teacher's never changes."""
        super().train(mode)
        self.teacher.eval()
        return self

    def loss(self, batch: Batch) -> Losses:
        """Scalar ``loss``, and both terms before weighting."""
        pre_logits = self.settings.layer == "features"
        with torch.no_grad():
            taught = self._head(self.teacher, network_input(batch, self.teacher_preprocessing), pre_logits)
        logits, learnt = self._student(batch, pre_logits)
        cross_entropy = self.label_loss(logits, batch["label"])
        distance = F.mse_loss(learnt, taught.to(learnt.dtype))
        loss = self.settings.ce_weight * cross_entropy + self.settings.kd_weight * distance
        return {"loss": loss, "cross_entropy": cross_entropy.detach(), "distillation": distance.detach()}

    def _student(self, batch: Batch, pre_logits: bool) -> tuple[torch.Tensor, torch.Tensor]:
        network: Any = self.network
        features = network.forward_features(self.inputs(batch))
        logits = network.forward_head(features)
        return logits, network.forward_head(features, pre_logits=True) if pre_logits else logits

    @staticmethod
    def _head(network: Any, clips: torch.Tensor, pre_logits: bool) -> torch.Tensor:
        output: torch.Tensor = network.forward_head(network.forward_features(clips), pre_logits=pre_logits)
        return output


def network_input(batch: Batch, preprocessing: Preprocessing) -> torch.Tensor:
    """Normalised clips [B, C, T, S, S] of the modality that ``preprocessing`` names."""
    values = normalise(batch[preprocessing.modality], preprocessing)
    return values.contiguous(memory_format=torch.channels_last_3d)


def on_device(batch: Batch, device: torch.device) -> Batch:
    """The same batch with its tensors on ``device``."""
    tensors = cast(dict[str, torch.Tensor], batch)
    return cast(Batch, {name: values.to(device, non_blocking=True) for name, values in tensors.items()})
