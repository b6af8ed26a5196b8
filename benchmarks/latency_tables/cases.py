"""What is timed: networks of several sizes, RGB and flow, and a video for each."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kineflow.data.transforms import apply_view, centre_view, resize_short_side
from kineflow.exporting.clip_classifier import ClipClassifier
from kineflow.flow.extraction.settings import ExtractSettings
from kineflow.flow.extraction.solving import BatchSolver
from kineflow.models.bundle import load_bundle
from kineflow.models.registry import create_model
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.tvl1 import PRESETS
from kineflow.video.decode import read_frames

CLASSES = 101


@dataclass(frozen=True)
class Case:
    """A student and a flow network that see the same moments of a video.

    Attributes:
        name: For the tables.
        architecture, hyper: Of both networks.
        frames: Time steps of a clip.
        side: Of the crop, px.
        stored: Shorter side of the stored video, px.
        snippet: Flow frames laid over each other in the flow network, for each frame of the student; 1 but for TSN.
        preset: Of TV-L1.
        batch: Clips of a batch.
    """

    name: str
    architecture: str
    hyper: dict[str, Any]
    frames: int
    side: int
    stored: int
    preset: str
    batch: int
    snippet: int = 1

    def classifier(self, channels: int, bundle: Path | None) -> ClipClassifier:
        """RGB for 3 channels, flow for 2; weights of a bundle, or drawn."""
        if bundle is not None:
            network, card = load_bundle(bundle)
            return ClipClassifier(network, card.preprocessing).requires_grad_(False).eval()
        modality, steps, hyper = "rgb", self.frames, dict(self.hyper)
        if channels == 2:
            modality, steps = "flow", self.frames * self.snippet
            hyper |= {"snippet_frames": self.snippet} if self.snippet > 1 else {}
        torch.manual_seed(0)
        network = create_model(self.architecture, num_classes=CLASSES, in_channels=channels, **hyper)
        middle, spread = (127.5,) * channels, (64.0,) * channels
        wanted = Preprocessing(modality, steps, 1, self.stored, self.side, middle, spread)  # type: ignore[arg-type]
        return ClipClassifier(network, wanted).requires_grad_(False).eval()


CASES = (
    Case("S3D-G, demo", "s3d_g", {"width": 0.25, "last_stage": "Mixed3c"}, 12, 64, 64, "fast", 16),
    Case("S3D-G, 16x112²", "s3d_g", {}, 16, 112, 128, "capped", 4),
    Case("S3D-G, 16x160²", "s3d_g", {}, 16, 160, 182, "capped", 4),
    Case("TSN, 3x224²", "tsn", {}, 3, 224, 256, "capped", 4, snippet=5),
)


@contextmanager
def rendered_video(size: int) -> Iterator[Path]:
    """A rendered clip of 24 frames: a textured actor before a moving scene."""
    from kineflow.synth.dataset import make_dataset
    from kineflow.synth.spec import GroupCounts, SynthSpec

    groups = GroupCounts(train=1, val=1, test=1, unlabelled=0)
    spec = SynthSpec(size_px=size, radius_px=size / 8, groups=groups, takes=1, camouflage=0.0, frames=24)
    with tempfile.TemporaryDirectory() as folder:
        make_dataset(Path(folder), spec, seed=0)
        yield min(Path(folder).rglob("*.mp4"))


def decoded(video: Path, frames: list[int], wanted: Preprocessing) -> torch.Tensor:
    """The centre crop of frames, uint8 [1,T,H,W,3]."""
    return _cropped(read_frames(video, frames), wanted)


def flow_of(video: Path, frames: list[int], wanted: Preprocessing, preset: str, bound_px: float) -> torch.Tensor:
    """The centre crop of the flow from each of these frames to the next, uint8 [1,T,H,W,2]."""
    settings = ExtractSettings(tvl1=PRESETS[preset], bound_px=bound_px, devices=("cpu",), workers=1)
    first = np.asarray(frames)
    needed = np.union1d(first, first + 1)
    grey = read_frames(video, needed.tolist(), pixel_format="gray")
    pairs = (grey[np.searchsorted(needed, chosen)] for chosen in (first, first + 1))
    return _cropped(BatchSolver("cpu", settings).solve(*pairs), wanted)


def _cropped(frames: np.ndarray, wanted: Preprocessing) -> torch.Tensor:
    sized = resize_short_side(frames, wanted.short_side)
    view = centre_view(*sized.shape[1:3], wanted.crop)
    return torch.from_numpy(np.ascontiguousarray(apply_view(sized, view)))[None]
