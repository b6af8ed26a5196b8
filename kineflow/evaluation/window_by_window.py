"""Testing a network that looks at whole windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from kineflow.data.windows import WindowViews
from kineflow.evaluation.view_stream import Part, ReadViews, WindowsOf, largest_part, load, outputs, parts_of
from kineflow.sets.clip_set import Clip


def logits_window_by_window(
    network: nn.Module,
    clips: Sequence[Clip],
    windows_of: WindowsOf,
    read: ReadViews,
    *,
    batch_size: int,
    device: torch.device | str,
    workers: int = 0,
) -> Iterator[Tensor]:
    """Logits [V·crops, K] of the windows of each video.

    Args:
        network: On ``device``, in evaluation mode.
        clips: The videos, at least one.
        windows_of: Of each video, time steps [V,T].
        read: Reads views.
        batch_size: Views at once; those of several videos share a pass.
        device: Where the network runs.
        workers: Processes that decode beside this one.
    """
    for answer in ask_of_windows(
        network, clips, windows_of, read, prepare=read, batch_size=batch_size, device=device, workers=workers
    ):
        assert isinstance(answer, Tensor)  # reading fails by an exception
        yield answer


def ask_of_windows(
    network: nn.Module,
    clips: Sequence[Clip],
    windows_of: WindowsOf,
    read: ReadViews,
    *,
    prepare: Callable[[Part], WindowViews | str],
    batch_size: int,
    device: torch.device | str,
    workers: int = 0,
) -> Iterator[Tensor | str]:
    """As :func:`logits_window_by_window`; of a clip of which ``prepare`` gives a text for some part, that text."""
    parts = (part for clip in clips for part in parts_of(clip, windows_of(clip), read))
    largest = largest_part(clips, read, steps=windows_of(clips[0]).shape[1])
    loaded = load(parts, prepare, largest_bytes=largest, workers=workers)
    answers = outputs(network, loaded, batch_size, device)
    for clip in clips:
        of_parts = [next(answers) for _ in parts_of(clip, windows_of(clip), read)]
        reason = next((answer for answer in of_parts if isinstance(answer, str)), None)
        yield reason or torch.cat([answer for answer in of_parts if isinstance(answer, Tensor)])
