"""The contract that every network keeps, which is what makes distillation, probing and weight transfer generic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from torch import nn

from kineflow.models.recomputing import recomputed
from kineflow.storage.errors import KineflowError
from kineflow.storage.names import first_few

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

COUNTER = "num_batches_tracked"
"""End of the name of a normalisation's counter, which checkpoints older than PyTorch 0.4.1 do not have."""


class Network(nn.Module):
    """A network from clips or images to class scores.

    A network is built headless (``num_classes=0``), or with one score a class; headless, its output is what a
    classifier would see, so that initial weights belong to no set of classes. Shapes with … hold for both kinds: it
    stands for T,H,W in a clip and for H,W in an image.

    Attributes:
        num_features: F, the channels of the last feature map.
        num_classes: K, or 0 without a classifier.
        stem_name: Of the first convolution, the one that sees the pixels (as in ``named_modules``).
        classifier_name: Of the layer that gives the scores.
        has_separate_stages: Whether it runs its stages by :meth:`run_stage`, as activation checkpointing needs it.
        recomputes: Whether these are computed again for the backward pass, which saves memory and costs time.
    """

    has_separate_stages: ClassVar[bool] = False
    recomputes: bool = False

    num_features: int
    num_classes: int
    stem_name: str
    classifier_name: str

    def forward(self, x: Tensor) -> Tensor:
        """Give logits float [B,K] of ``x``, float [B,C,…]; headless, what a classifier would see, [B,D]."""
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """Give the last feature map, float [B,F,…], of ``x``, float [B,C,…]."""
        raise NotImplementedError

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Give logits [B,K] of a feature map [B,F,…], or with ``pre_logits`` what the classifier sees, [B,D]."""
        raise NotImplementedError

    def run_stage(self, stage: Callable[..., T], *inputs: Any, **options: Any) -> T:
        """Give ``stage(*inputs, **options)``: a part of this network, which changes none of its inputs in place."""
        if self.recomputes and torch.is_grad_enabled():
            return recomputed(stage, *inputs, layers=self.modules(), **options)
        return stage(*inputs, **options)

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the classifier by a fresh one, drawn from torch's global generator; 0 takes it away."""
        raise NotImplementedError

    def adapt_checkpoint(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Turn the weights of a published relative into this network's; without relatives, change nothing."""
        return dict(state)

    def stage_modules(self) -> tuple[tuple[str, ...], ...]:
        """Names of the modules that lead to the classifier, stage by stage from the pixels on, for fine-tuning.

        Unless a network says otherwise, its children with weights are a stage each, but for the one with the
        classifier; those of a single child with weights, of which it is made, in its place. A network around another
        has that one's stages.
        """
        around = self.classifier_name.partition(".")[0]
        inner = getattr(self, around, None)
        if isinstance(inner, Network):
            return tuple(tuple(f"{around}.{name}" for name in stage) for stage in inner.stage_modules())
        names = [name for name, child in self.named_children() if name != around and _has_weights(child)]
        if len(names) == 1:
            (whole,) = names
            below = [name for name, child in self.get_submodule(whole).named_children() if _has_weights(child)]
            names = [f"{whole}.{name}" for name in below]
        return tuple((name,) for name in names)

    @property
    def head_hidden_size(self) -> int:
        """D, the length of what the classifier sees: F, where that is the pooled feature map."""
        return self.num_features

    @property
    def stem(self) -> nn.Conv2d | nn.Conv3d:
        """The first convolution."""
        layer = self.get_submodule(self.stem_name)
        assert isinstance(layer, nn.Conv2d | nn.Conv3d)
        return layer


class VideoNetwork(Network):
    """A network for clips: [B,C,T,H,W] → feature map [B,F,T',H',W'] → logits [B,K]."""

    def require_clip(self, *, frames: int, size: int) -> None:
        """Check that the network takes clips of ``frames`` frames of ``size`` px; most take any.

        Raises:
            KineflowError: It is built for others.
        """


class ImageNetwork(Network):
    """A network for images: [N,C,H,W] → feature map [N,F,h,w] → logits [N,K], by a linear classifier at the end."""

    def reset_classifier(self, num_classes: int) -> None:
        """See :meth:`Network.reset_classifier`."""
        self.num_classes = num_classes
        scores: nn.Module = nn.Identity()
        if num_classes:
            beside = self.stem.weight
            scores = nn.Linear(self.head_hidden_size, num_classes, device=beside.device, dtype=beside.dtype)
            nn.init.normal_(scores.weight, std=0.01)
            nn.init.zeros_(scores.bias)
        self.set_submodule(self.classifier_name, scores)


def _has_weights(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def require_same_tensors(
    expected: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]], *, where: str, remedy: str
) -> None:
    """Check names and shapes of weights against those of the network they are meant for.

    Raises:
        KineflowError: A tensor is missing, unknown or of another shape; up to five of each are named.
    """
    faults = {
        "missing": sorted(expected.keys() - given.keys()),
        "unexpected": sorted(given.keys() - expected.keys()),
        "of another shape": [
            f"{name} {list(given[name])} instead of {list(expected[name])}"
            for name in sorted(expected.keys() & given.keys())
            if expected[name] != given[name]
        ],
    }
    lines = [f"  {kind} ({len(names)}): {first_few(names)}" for kind, names in faults.items() if names]
    if lines:
        raise KineflowError("\n".join(["weights do not fit the network", *lines]), where=where, remedy=remedy)


def require_finite(state: Mapping[str, Tensor], *, where: str) -> None:
    """Check that weights are numbers: a network with one that is not answers nothing but NaN.

    Raises:
        KineflowError: A weight is infinite or not a number; up to five tensors are named.
    """
    broken = sorted(
        name for name, tensor in state.items() if tensor.is_floating_point() and not torch.isfinite(tensor).all()
    )
    if broken:
        raise KineflowError(
            f"weights that are infinite or not a number ({len(broken)} tensors): {first_few(broken)}",
            where=where,
            remedy="give weights of before the training broke down, or train again with a lower learning rate",
        )


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor by its name."""
    return {name: tuple(tensor.shape) for name, tensor in state.items()}
