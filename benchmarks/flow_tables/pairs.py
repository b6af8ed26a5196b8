"""Pairs of frames to measure flow on: film and rendered clips with exact flow, and real clips."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from kineflow.video.decode import read_frames

_FOUND_AT = Path(__file__).resolve().parents[2].parent / "shared" / "data"
REAL_CLIPS = {
    "UCF101 SoccerJuggling g23": "v_SoccerJuggling_g23_c01.avi",
    "UCF101 SoccerJuggling g24": "v_SoccerJuggling_g24_c01.avi",
    "HMDB51 cartwheel": "hmdb51_Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6.avi",
    "HMDB51 wave (SchoolRules)": "SchoolRulesHowTheyHelpUs_wave_f_nm_np1_ba_med_0.avi",
    "HMDB51 wave (TrumanShow)": "TrumanShow_wave_f_nm_np1_fr_med_26.avi",
    "Kinetics SOX5yA1l24A": "SOX5yA1l24A.mp4",
    "Kinetics R6llTwEh07w": "R6llTwEh07w.mp4",
    "Kinetics WUzgd7C1pWA (fast)": "WUzgd7C1pWA.mp4",
}


@dataclass(frozen=True)
class Pairs:
    """Pairs of one scene.

    Attributes:
        name: Of the scene.
        first, second: uint8 [N, H, W].
        exact: Exact flow, float32 [N, 2, H, W], where it is known.
    """

    name: str
    first: Tensor
    second: Tensor
    exact: Tensor | None = None


def shared_data() -> Path | None:
    """The folder of real clips and film beside the checkout, where there is one."""
    return _FOUND_AT if _FOUND_AT.is_dir() else None


def real_pairs(count: int) -> Iterator[Pairs]:
    """``count`` pairs of each real clip, spread evenly over it."""
    data = shared_data()
    for name, file in REAL_CLIPS.items() if data else ():
        frames = torch.from_numpy(read_frames(data / "clips" / file, pixel_format="gray"))
        at = torch.linspace(2, len(frames) - 3, count).long()
        yield Pairs(name, frames[at], frames[at + 1])


def film_pairs(scale: float) -> Iterator[Pairs]:
    """The three pairs of film with exact flow, scaled."""
    data = shared_data()
    for scene in ("easy", "medium", "hard") if data else ():
        folder = data / "flow" / scene
        frames = [cv2.imread(str(folder / f"frame_000{n}.png"), cv2.IMREAD_GRAYSCALE) for n in (2, 3)]
        exact = cv2.readOpticalFlow(str(folder / "gt" / "frame_0002.flo"))
        if scale != 1:
            frames = [cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for frame in frames]
            exact = cv2.resize(exact, frames[0].shape[::-1], interpolation=cv2.INTER_AREA) * scale
        first, second = (torch.from_numpy(frame)[None] for frame in frames)
        yield Pairs(f"film, {scene}, {first.shape[2]}x{first.shape[1]}", first, second, _channels_first(exact[None]))


def rendered_pairs(clips: int, size_px: int, seed: int = 0) -> Iterator[Pairs]:
    """Clips of the controlled benchmark, with exact flow: a textured actor before a moving background."""
    from kineflow.synth.dataset import make_dataset, truth_path
    from kineflow.synth.spec import GroupCounts, SynthSpec
    from kineflow.synth.truth import load_truth

    groups = GroupCounts(train=1, val=1, test=1, unlabelled=0)
    spec = SynthSpec(size_px=size_px, radius_px=size_px / 4.5, groups=groups, takes=1, camouflage=0.0)
    with tempfile.TemporaryDirectory() as folder:
        make_dataset(Path(folder), spec, seed=seed)
        for video in sorted(Path(folder).rglob("*.mp4"))[:clips]:
            frames = torch.from_numpy(read_frames(video, pixel_format="gray"))
            truth = load_truth(truth_path(Path(folder), video.relative_to(folder).as_posix()))
            yield Pairs(f"rendered, {video.stem}", frames[:-1], frames[1:], _channels_first(np.asarray(truth.flow)))


def _channels_first(flow: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(flow.transpose(0, 3, 1, 2), dtype=np.float32))
