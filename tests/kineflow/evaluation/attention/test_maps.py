from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from kineflow.evaluation.attention.maps import SeenRegion, Watched, consecutive_windows, part_seen, watch_clips
from kineflow.models.card import ModelCard
from kineflow.models.frame_networks import FrameNetwork
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.sampling import ClipSpec
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.video.encode import write_video

CLASSES = ("a", "b")


class Brightest(FrameNetwork):
    """Looks at what is bright: a frame's map is the brightness of its cells; class 1 by the clip's mean brightness."""

    def __init__(self, *, attends: bool = True) -> None:
        nn.Module.__init__(self)
        self.batches: list[int] = []
        self.sequence = SimpleNamespace(unroll=self.unroll, multi_label=False)  # type: ignore[assignment]
        self.attends = attends

    def frame_features(self, clips: Tensor) -> tuple[Tensor, ...]:
        self.batches.append(len(clips))
        cells = nn.functional.avg_pool3d(clips.mean(dim=1, keepdim=True), (1, 8, 8))
        return (cells.transpose(1, 2),)

    def unroll(self, cells: Tensor) -> tuple[Tensor, Tensor | None]:
        return cells, cells.squeeze(2) if self.attends else None

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        bright = features.mean(dim=(1, 2, 3, 4))
        return torch.stack([torch.zeros_like(bright), bright], dim=1)

    def train(self, mode: bool = True) -> Brightest:
        return self


def card(**changes: object) -> ModelCard:
    given = {"frames": 4, "stride_frames": 1, "short_side": 32, "crop": 32, **changes}
    return ModelCard("m", "conv_alstm", {}, CLASSES, Preprocessing("rgb", mean=(0.0,) * 3, std=(255.0,) * 3, **given))


def clip_of(frames: int, *, name: str = "v", width: int = 32, height: int = 32) -> Clip:
    return Clip(name, f"{name}.mp4", "a", "g", Split.TEST, frames, 25.0, width, height, 0, "", Status.OK, "", name)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipSet:
    """Frame t of 10 is lit in the cell number t of a grid of 4×4; another clip has 3 frames."""
    folder = tmp_path_factory.mktemp("clips")
    for name, count in (("v", 10), ("short", 3)):
        frames = np.zeros((count, 32, 32, 3), np.uint8)
        for t in range(count):
            row, column = divmod(t, 4)
            frames[t, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 255
        write_video(folder / f"{name}.mp4", frames, fps=25, crf=0)
    return ClipSet(CLASSES, (clip_of(10), clip_of(3, name="short")), str(folder))


def watch(clip_set: ClipSet, network: FrameNetwork | None = None, **changes: object) -> list[Watched]:
    batch_size = int(changes.pop("batch_size", 8))  # type: ignore[call-overload]
    return list(
        watch_clips(network or Brightest(), card(**changes), clip_set.clips, clip_set, None, batch_size=batch_size)
    )


def test_windows_as_in_the_picture() -> None:
    assert consecutive_windows(10, ClipSpec(4)).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [6, 7, 8, 9]]
    assert consecutive_windows(8, ClipSpec(4)).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert consecutive_windows(3, ClipSpec(4)).tolist() == [[0, 1, 2, 2]]
    assert consecutive_windows(9, ClipSpec(2, 3)).tolist() == [[0, 3], [3, 6]]


@given(n=st.integers(1, 90), frames=st.integers(1, 12), stride=st.integers(1, 5))
def test_windows_cover_every_moment_that_is_seen(n: int, frames: int, stride: int) -> None:
    windows = consecutive_windows(n, ClipSpec(frames, stride))
    assert set(windows.ravel()) >= set(range(0, n, stride))
    assert windows.max() < n
    assert len(windows) == -(-len(range(0, n, stride)) // frames)


def test_every_frame_has_the_map_of_its_moment(clips: ClipSet) -> None:
    seen, short = watch(clips)
    assert seen.attention.shape == (10, 4, 4)
    np.testing.assert_allclose(seen.attention.sum(axis=(1, 2)), 1, rtol=1e-5)
    lit = seen.attention.reshape(10, -1)
    assert lit.argmax(axis=1).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 8]  # the last frame is no moment
    assert lit.max(axis=1).min() > 0.9
    assert short.attention.reshape(3, -1).argmax(axis=1).tolist() == [0, 1, 1]


def test_with_a_stride_a_map_is_that_of_the_frames_until_the_next(clips: ClipSet) -> None:
    seen, _ = watch(clips, frames=3, stride_frames=3)
    assert seen.attention.reshape(10, -1).argmax(axis=1).tolist() == [0, 0, 0, 3, 3, 3, 6, 6, 6, 6]


def test_probabilities_are_the_mean_over_the_windows(clips: ClipSet) -> None:
    seen, _ = watch(clips)
    bright = 1 / 16  # one cell of each frame, in every window
    assert seen.probabilities == pytest.approx([1 / (1 + np.exp(bright)), np.exp(bright) / (1 + np.exp(bright))], 1e-2)


def test_batches_make_no_difference(clips: ClipSet) -> None:
    network = Brightest()
    one = watch(clips, network, batch_size=1)
    assert network.batches == [1, 1, 1, 1]
    many = watch(clips, network)
    assert network.batches[4:] == [3, 1]
    for first, second in zip(one, many, strict=True):
        np.testing.assert_array_equal(first.attention, second.attention)
        np.testing.assert_allclose(first.probabilities, second.probabilities)


def test_the_part_of_the_frame_that_is_seen() -> None:
    wide = clip_of(9, width=320, height=240)
    assert part_seen(wide, card(fit="squash").preprocessing) == SeenRegion(0, 0, 320, 240)
    assert part_seen(wide, card(short_side=256, crop=224).preprocessing) == SeenRegion(55, 15, 210, 210)
    assert part_seen(wide, card().preprocessing) == SeenRegion(40, 0, 240, 240)


def test_networks_that_cannot_be_watched(clips: ClipSet) -> None:
    with pytest.raises(KineflowError, match="has no attention over frames"):
        watch(clips, Brightest(attends=False))
    sees_flow = dataclasses.replace(card(), preprocessing=Preprocessing("flow", 4, 1, 32, 32, (0.0,) * 2, (1.0,) * 2))
    for other, said in (
        (dataclasses.replace(card(), architecture="s3d"), "'s3d' has no attention over frames"),
        (dataclasses.replace(card(), classes=()), "initial weights know no classes"),
        (sees_flow, "no flow set was given"),
    ):
        with pytest.raises(KineflowError, match=said):
            next(watch_clips(Brightest(), other, clips.clips, clips, None))


def test_clips_are_found_by_their_place(clips: ClipSet, tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match=r"v\.mp4"):
        watch(ClipSet(CLASSES, clips.clips, str(tmp_path)))
