"""Asking a network about the windows of a video, one after the other, each in all its crops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kineflow.data.windows import WindowViews
from kineflow.models.card import ModelCard
from kineflow.models.frame_networks import FrameNetwork
from kineflow.spec.arrays import Indices
from kineflow.storage.errors import KineflowError

_MOST_IMAGES = 32  # that a backbone is asked about at once


class ViewLogits:
    """Logits of windows in order. A network over frames has its backbone look at each frame once.

    Args:
        network: On its device, in evaluation mode.
        card: Its name and classes.
    """

    def __init__(self, network: nn.Module, card: ModelCard) -> None:
        self._network: Any = network
        self._card = card
        self._features: dict[int, list[Tensor]] = {}  # by time step, of each stream [crops, …]

    def steps_to_prepare(self, windows: Sequence[Indices]) -> list[Indices]:
        """Of each window [T] the time steps that it brings: all of them, or those that no window before it had."""
        if not isinstance(self._network, FrameNetwork):
            return list(windows)
        steps, held = [], np.empty(0, dtype=np.int64)
        for window in windows:
            steps.append(np.setdiff1d(window, held))
            held = np.union1d(held[held >= window.min()], window)
        return steps

    def __call__(self, window: Indices, steps: Indices, views: WindowViews) -> Tensor:
        """Logits [crops, K], on the CPU.

        Args:
            window: Time steps [T].
            steps: Those of them that ``views`` show.
            views: Of one window, on the network's device.

        Raises:
            KineflowError: The network cannot take it, or is not the card's.
        """
        if not isinstance(self._network, FrameNetwork):
            return window_logits(self._network, views, self._card)
        with _fitting(views, self._card):
            of_crops = [self._features_of(crop) for crop in _one_by_one(views)]
            features = [torch.cat(of_stream) for of_stream in zip(*of_crops, strict=True)]  # [crops, m, …] each
            self._features = {step: kept for step, kept in self._features.items() if step >= window.min()}
            for place, step in enumerate(steps.tolist()):
                self._features[step] = [of_stream[:, place] for of_stream in features]
            of_window = zip(*(self._features[step] for step in window.tolist()), strict=True)
            logits = self._network.sequence(*(torch.stack(of_stream, dim=1) for of_stream in of_window))
        return _checked(logits, len(views), self._card)

    def _features_of(self, clip: Tensor) -> list[Tensor]:
        """Of each stream [1, m, …], from [1, C, m, S, S]."""
        some = [self._network.frame_features(part) for part in torch.split(clip, _MOST_IMAGES, dim=2)]
        return [torch.cat(of_stream, dim=1) for of_stream in zip(*some, strict=True)]


def window_logits(network: nn.Module, views: WindowViews, card: ModelCard) -> Tensor:
    """Logits [crops, K] of the views of a window, on the network's device, one at a time; on the CPU.

    Raises:
        KineflowError: The network cannot take it, or is not the card's.
    """
    with _fitting(views, card):
        return torch.cat([_checked(network(view), 1, card) for view in _one_by_one(views)])


def _one_by_one(views: WindowViews) -> Iterator[Tensor]:
    """Each view as a network's input, float32 [1, C, T, S, S]."""
    return (views.inputs(number, number + 1) for number in range(len(views)))


def _checked(logits: Tensor, views: int, card: ModelCard) -> Tensor:
    if logits.shape != (views, len(card.classes)):
        raise KineflowError(
            f"the network gives {list(logits.shape)} scores, for {len(card.classes)} classes",
            where=f"model {card.name!r}",
            remedy="use weights and card of one model together",
        )
    return logits.float().cpu()


@contextmanager
def _fitting(views: WindowViews, card: ModelCard) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError, IndexError) as error:  # a layer met a shape that it is not for; or no memory
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise KineflowError(
            f"the network cannot take clips of {list(views.shape)}: {reason}",
            where=f"model {card.name!r}",
            remedy="use weights and card of one model together; on a small device, predict on the CPU",
        ) from None
