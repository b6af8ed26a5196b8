"""What is under way of a video that is tested stays within bounds, whatever its length."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest
import torch

from kineflow.data.transforms import View
from kineflow.data.windows import WindowViews
from kineflow.evaluation.frame_by_frame import logits_frame_by_frame
from kineflow.evaluation.view_stream import PART_BYTES, SHARED_BYTES, Part, largest_part, load, outputs, parts_of
from kineflow.sets.clip_set import Clip
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.sampling import ClipSpec, dense_clips, uniform_clips
from kineflow.spec.split import Split
from kineflow.spec.status import Status

FLOW = Preprocessing("flow", 4, 1, 8, 8, (128.0,) * 2, (64.0,) * 2)


class Reader:
    """Views of nothing, as large as it is told."""

    def __init__(self, step_bytes: int) -> None:
        self._step_bytes = step_bytes

    def __call__(self, part: Part) -> WindowViews:
        steps, places = np.unique(part.windows, return_inverse=True)
        pixels = torch.zeros(len(steps), 8, 8, 2, dtype=torch.uint8)
        return WindowViews(pixels, torch.from_numpy(places.reshape(part.windows.shape)), (View(0, 0, 8),), FLOW)

    def step_bytes(self, _: Clip) -> int:
        return self._step_bytes


def clip(frames: int) -> Clip:
    return Clip("c", "", "x", "", Split.TEST, frames, 25.0, 342, 256, 0, "", Status.OK, "", "")


@pytest.mark.parametrize("frames", [100, 2000, 20_000])
@pytest.mark.parametrize(("length", "stride", "count"), [(64, 1, 10), (25, 15, 25), (5, 1, 25)])
def test_parts_hold_all_windows_in_order_and_none_is_too_large(
    frames: int, length: int, stride: int, count: int
) -> None:
    step_bytes = 700_000
    windows = np.unique(uniform_clips(frames, ClipSpec(length, stride, "closer"), count), axis=0)
    parts = parts_of(clip(frames), windows, Reader(step_bytes))
    assert np.array_equal(np.concatenate([part.windows for part in parts]), windows)
    sizes = [len(np.unique(part.windows)) * step_bytes for part in parts]
    assert max(sizes) <= max(PART_BYTES, length * step_bytes)
    assert max(sizes) <= largest_part([clip(frames)], Reader(step_bytes), steps=length)
    assert len(parts) <= 1 + 2 * sum(sizes) // PART_BYTES  # and none is small for nothing


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("largest", [2**16, 2**25, 50 * 2**20, 2**27, 2**28, 2**29])
def test_what_processes_hold_fits_into_shared_memory(largest: int) -> None:
    loader: Any = load([], lambda part: part, largest_bytes=largest, workers=8)
    ahead = loader.num_workers * (loader.prefetch_factor or 0)
    assert not ahead or (ahead + 2) * largest <= SHARED_BYTES
    assert loader.num_workers == 8 or (loader.num_workers + 3) * largest > SHARED_BYTES


def test_features_are_let_go_once_no_window_needs_them() -> None:
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    most = 0

    class Network:
        def frame_features(self, x: torch.Tensor) -> tuple[torch.Tensor]:
            nonlocal most
            features = x.mean(dim=(3, 4)).transpose(1, 2).contiguous()
            alive.add(features)
            most = max(most, len(alive))
            return (features,)

        def sequence(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean(dim=1)

    network: Any = Network()
    windows = dense_clips(3000, ClipSpec(4))
    [logits] = logits_frame_by_frame(network, [clip(3001)], lambda _: windows, Reader(128), batch_size=16, device="cpu")
    assert logits.shape == (2997, 2)
    assert most <= 2


def test_a_text_keeps_its_place() -> None:
    reader, windows = Reader(128), dense_clips(12, ClipSpec(4))
    views = [reader(Part(clip(13), some)) for some in np.split(windows, [2, 3])]
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(3))
    given = ["first", views[0], "second", views[1], views[2], "last"]
    found = ["text" if isinstance(each, str) else len(each) for each in outputs(network, given, 4, "cpu")]
    assert found == ["text", 2, "text", 1, 6, "text"]
