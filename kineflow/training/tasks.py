"""What is learnt: a task owns a network and its loss, and knows nothing of the loop around it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import nn

from kineflow.data.dataset import Sample
from kineflow.data.transforms import mean_and_std, normalise, normalise_by
from kineflow.spec.preprocessing import Preprocessing
from kineflow.storage.config import PlainValue
from kineflow.storage.errors import KineflowError
from kineflow.training.activation_checkpointing import checkpoint_activations
from kineflow.training.freezing import Freezing, Frozen
from kineflow.training.losses.registry import CROSS_ENTROPY, find_loss
from kineflow.training.partial_norms import freeze_affine, freeze_statistics
from kineflow.training.settings import PartialNorms

Batch = Sample  # collated: every tensor has a leading batch dimension
Losses = dict[str, torch.Tensor]

NO_OPTIONS: Mapping[str, PlainValue] = MappingProxyType({})


class Classification(nn.Module):
    """Cross entropy, or another loss, on labelled clips.

    Attributes:
        parts: That a batch comes in, by processes and one after the other; the mean of their losses is minimised.
        can_mix: Whether the loss is that of two labels where clips are mixed.
        multi_label: Whether clips may have several classes.

    Args:
        network: From clips [B, C, T, S, S] to logits [B, K].
        preprocessing: Says which modality the network reads and how it is normalised.
        label_smoothing: Of the cross entropy, or another loss that takes it.
        partial_norms: What of the network's later batch normalisations is frozen.
        frozen, unfrozen_stages, unfreeze_after_steps: What of its stages is, see
            :class:`kineflow.training.freezing.Freezing`; then ``network`` is a
            :class:`kineflow.models.network.Network`.
        loss: By name, see :mod:`kineflow.training.losses.registry`.
        loss_options: Its keywords.
        activation_checkpointing: Stages of the network are computed again for the backward pass, not kept.

    Raises:
        KineflowError: There is no such loss, or the network has fewer stages, or none that can be computed again.
    """

    can_mix = True

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        *,
        label_smoothing: float = 0.0,
        partial_norms: PartialNorms = "off",
        frozen: Frozen = "none",
        unfrozen_stages: int = 0,
        unfreeze_after_steps: int = 0,
        loss: str = CROSS_ENTROPY,
        loss_options: Mapping[str, PlainValue] = NO_OPTIONS,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.preprocessing, self.label_smoothing = network, preprocessing, label_smoothing
        self.parts = 1
        self.multi_label = False
        self._normalise = Normalise(preprocessing)
        self.partial_norms = partial_norms
        self._loss_name = loss
        self._loss = find_loss(loss)
        self._loss_options = {**loss_options, **({"label_smoothing": label_smoothing} if label_smoothing else {})}
        if activation_checkpointing:
            checkpoint_activations(network)
        if partial_norms == "affine":
            freeze_affine(network)
        self.freezing = Freezing(network, frozen, unfrozen_stages=unfrozen_stages, until_step=unfreeze_after_steps)

    def train(self, mode: bool = True) -> Self:
        """Set the network's mode; what is frozen stays in evaluation."""
        super().train(mode)
        if self.partial_norms != "off":
            freeze_statistics(self.network)
        self.freezing.hold()
        return self

    def inputs(self, batch: Batch) -> torch.Tensor:
        """Normalised clips [B, C, T, S, S] of this task's modality."""
        clips: torch.Tensor = self._normalise(batch)
        return clips

    def logits(self, batch: Batch) -> torch.Tensor:
        """Logits [B, K] that validation judges."""
        logits: torch.Tensor = self.network(self.inputs(batch))
        return logits

    def truth(self, batch: Batch) -> torch.Tensor:
        """What validation holds the logits against: the labels, int64 [B]."""
        return batch["label"]

    def figures(self, logits: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
        """``val/top1`` and ``val/loss`` of all logits [N, K] and what :meth:`truth` has of them."""
        top1 = (logits.argmax(dim=1) == truth).float().mean()
        return {"val/top1": float(top1), "val/loss": float(F.cross_entropy(logits, truth))}

    def loss(self, batch: Batch) -> Losses:
        """Scalar ``loss`` to be minimised, and its terms."""
        loss = self.label_loss(self.network(self.inputs(batch)), batch)
        return {"loss": loss, self.label_term: loss.detach()}

    @property
    def beside(self) -> nn.Module:
        """What learns with the network and is not kept."""
        return nn.ModuleList()

    def at_step(self, steps_done: int, of: int) -> None:
        """Make ready for the step after ``steps_done`` of all steps."""

    def after_step(self, steps_done: int) -> None:
        """Follow the weights that the optimiser has just changed, for the ``steps_done``-th time."""

    def label_loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Mean of the loss over the labelled rows [B, K] of a batch, of mixed clips by both labels; 0 without any.

        Raises:
            KineflowError: A loss of the user's own gave no scalar.
        """
        labels = batch["label"]
        labelled = batch["labelled"] if "labelled" in batch else _labelled(labels)
        if not len(labelled):
            return logits.sum() * 0.0
        others = batch.get("mixed_label")
        if len(labelled) < len(labels):
            logits, labels = logits[labelled], labels[labelled]
            others = None if others is None else others[labelled]
        loss = self._loss(logits, labels, **self._loss_options)
        if others is not None:
            loss = torch.lerp(self._loss(logits, others, **self._loss_options), loss, batch["share"].to(loss.dtype))
        if loss.ndim:
            raise KineflowError(
                f"the loss {self._loss_name!r} gave a tensor {list(loss.shape)}, not a number",
                remedy="let it give the mean over the clips",
            )
        return loss

    @property
    def label_term(self) -> str:
        """What the loss of the labels is called among the terms."""
        return CROSS_ENTROPY if self._loss_name == CROSS_ENTROPY else "label_loss"


class Normalise(nn.Module):
    """:func:`network_input`, with what it subtracts and divides by on the task's device: a GPU is not waited for.

    Args:
        preprocessing: Of the clips.
        key: Under which a batch has them; empty: under their modality.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, preprocessing: Preprocessing, *, key: str = "") -> None:
        super().__init__()
        self.preprocessing, self._key = preprocessing, key or preprocessing.modality
        mean, std = mean_and_std(preprocessing)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Normalised clips [B, C, T, S, S]."""
        clips, bgr = cast(dict[str, torch.Tensor], batch)[self._key], self.preprocessing.channel_order == "bgr"
        return normalise_by(clips, self.mean, self.std, bgr=bgr)


def network_input(batch: Batch, preprocessing: Preprocessing) -> torch.Tensor:
    """Normalised clips [B, C, T, S, S] of the modality that ``preprocessing`` names."""
    return normalise(batch[preprocessing.modality], preprocessing)


def on_device(batch: Batch, device: torch.device) -> Batch:
    """The same batch with its tensors on ``device``, and which rows are ``labelled``."""
    tensors = dict(cast(dict[str, torch.Tensor], batch))
    if "label" in tensors and "labelled" not in tensors:
        tensors["labelled"] = _labelled(tensors["label"])  # here, where no GPU has to be waited for
    return cast(Batch, {name: values.to(device, non_blocking=True) for name, values in tensors.items()})


def _labelled(labels: torch.Tensor) -> torch.Tensor:
    """Rows with a label, int64 [L]."""
    return torch.nonzero(labels >= 0).flatten()
