"""Windows made of the features of frames against the network run on each window."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kineflow.data.crops import Crops
from kineflow.data.windows import WindowViews, needed_of, window_views
from kineflow.evaluation.frame_by_frame import logits_frame_by_frame
from kineflow.evaluation.view_stream import Part
from kineflow.models.frame_networks import FrameNetwork
from kineflow.models.registry import create_model
from kineflow.sets.clip_set import Clip
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.sampling import ClipSpec, dense_clips, uniform_clips
from kineflow.spec.split import Split
from kineflow.spec.status import Status

LENGTHS = (9, 3, 14)
FLOW = Preprocessing("flow", 4, 1, 32, 32, (128.0,) * 2, (64.0,) * 2)


def clip(number: int, frames: int) -> Clip:
    return Clip(str(number), "", "x", "", Split.TEST, frames, 25.0, 32, 32, 0, "", Status.OK, "", "")


class Reader:
    """Views of flow that depends on video and moment."""

    def __init__(self, crops: Crops) -> None:
        self.crops = crops

    def __call__(self, part: Part) -> WindowViews:
        clip, windows = part
        rng = np.random.default_rng(int(clip.clip_id))
        video = rng.integers(0, 256, (clip.frames, 32, 32, 2), dtype=np.uint8)
        needed = needed_of(windows, FLOW, n_frames=clip.frames + 1)
        seen = video[needed.flow_frames]
        return window_views(windows, needed, None, seen, FLOW, n_frames=clip.frames + 1, crops=self.crops)

    def step_bytes(self, _: Clip) -> int:
        return 32 * 32 * 2


@pytest.fixture(scope="module")
def network() -> FrameNetwork:
    torch.manual_seed(0)
    network = create_model(
        "alstm", num_classes=3, in_channels=2, backbone="resnet50", width=0.125, output_stride=8, cells=16, hidden=8,
        head_width=8, layers=1,
    )  # fmt: skip
    assert isinstance(network, FrameNetwork)
    return network.eval()


@pytest.mark.parametrize("crops", [1, 2])
@pytest.mark.parametrize("batch_size", [4, 64])
def test_the_same_answers_as_window_by_window(network: FrameNetwork, crops: Crops, batch_size: int) -> None:
    clips = [clip(number, frames) for number, frames in enumerate(LENGTHS)]
    windows = [dense_clips(LENGTHS[0], ClipSpec(4)), *(uniform_clips(n, ClipSpec(4, 2), 3) for n in LENGTHS[1:])]
    with torch.inference_mode():
        logits = list(
            logits_frame_by_frame(
                network,
                clips,
                lambda clip: windows[int(clip.clip_id)],
                Reader(crops),
                batch_size=batch_size,
                device="cpu",
            )
        )
        for video, seen, found in zip(clips, windows, logits, strict=True):
            expected = network(Reader(crops)(Part(video, seen)).inputs())
            assert found.shape == (len(seen) * crops, 3)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_backbone_sees_each_moment_once(network: FrameNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    original = network.frame_features
    monkeypatch.setattr(network, "frame_features", lambda x: seen.append(x.shape[2]) or original(x))
    windows = dense_clips(14, ClipSpec(4))
    with torch.inference_mode():
        list(logits_frame_by_frame(network, [clip(0, 14)], lambda _: windows, Reader(1), batch_size=5, device="cpu"))
    assert sum(seen) == len(np.unique(windows)) == 14
    assert max(seen) <= 5
