"""Warped flow: what is left of the camera's motion, on clips where that motion is exactly known and on real ones."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from unittest import mock

import cv2
import numpy as np
import numpy.typing as npt
import torch
from flow_tables.layout import markdown
from flow_tables.pairs import REAL_CLIPS, shared_data
from torch import Tensor

from kineflow.flow import camera as camera_module
from kineflow.flow.camera import WARP_MARGIN_PX, Camera, estimate_camera
from kineflow.flow.tvl1 import tvl1_flow
from kineflow.flow.warped import warped_flow
from kineflow.spec.tvl1 import PRESETS
from kineflow.synth.motions import clip_times, find_motion
from kineflow.synth.render import render_clip
from kineflow.synth.spec import SynthSpec
from kineflow.synth.staging import affines, draw_look, draw_poses
from kineflow.synth.truth import Truth
from kineflow.video.decode import read_frames

_CAPPED = PRESETS["capped"]
_CAMERAS = {
    "still": {},
    "pan 2 px": {"pan_px": 2.0},
    "pan 4.5 px": {"pan_px": 4.5},
    "roll 1.1°": {"roll_rad": 0.02},
    "zoom 1.5 %": {"zoom": 0.015},
    "all of them": {"pan_px": 2.0, "roll_rad": 0.015, "zoom": 0.01},
}
_ACTORS = ("translate_right", "rotate_clockwise", "oscillate_y")
_SHOWN = ("UCF101 SoccerJuggling g23", "Kinetics WUzgd7C1pWA (fast)")
_BESIDE_PX = 4  # pixels this near to the actor's outline, or to the warp's margin, are not counted

Floats = npt.NDArray[np.float64]
Frame = npt.NDArray[np.uint8]


def table(quick: bool) -> str:
    """Three tables, all with TV-L1's preset ``capped``.

    1. Rendered clips under a camera that pans, rolls and zooms: motion of the background in raw and warped flow, share
       of pairs with a camera, error of that camera, error of the warped flow on the actor against its exact motion
       relative to the background. CPU time is that of finding the camera, with the flow given, on one thread.
    2. The same pairs, and shifts too fast for the flow, with other features than ORB beside the corners.
    3. Two real clips: the mean speed of raw and of warped flow.
    """
    threads = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        clips = {name: list(_rendered(name, quick)) for name in _CAMERAS}
        return "\n".join([_on_rendered(clips), _with_other_features(clips, quick), _on_real(quick)])
    finally:
        cv2.setNumThreads(threads[0])
        torch.set_num_threads(threads[1])


@dataclass(frozen=True)
class _Clip:
    frames: Tensor  # uint8 [T, H, W]
    truth: Truth
    raw: Floats  # [T-1, 2, H, W]

    @property
    def size(self) -> tuple[int, int]:
        return self.truth.mask.shape[1], self.truth.mask.shape[2]

    def pairs(self) -> Iterator[tuple[Frame, Frame, npt.NDArray[np.float32]]]:
        frames = self.frames.numpy()
        yield from zip(frames[:-1], frames[1:], self.raw.astype(np.float32), strict=True)

    def cameras(self) -> list[Camera]:
        """The exact ones."""
        return [Camera(np.vstack([affine, [0, 0, 1]]), 0, 0) for affine in self.truth.camera]

    def background(self) -> npt.NDArray[np.bool_]:
        grown = [_morphed(cv2.dilate, mask) for mask in self.truth.mask]
        return ~np.stack([a | b for a, b in itertools.pairwise(grown)]) & self.seen()

    def actor(self) -> npt.NDArray[np.bool_]:
        inside = np.stack([_morphed(cv2.erode, mask) for mask in self.truth.mask[:-1]])
        return inside & ~self.truth.occluded & self.seen()

    def seen(self) -> npt.NDArray[np.bool_]:
        """Pixels whose background the next frame shows, off its margin; elsewhere warped flow is 0 by construction."""
        height, width = self.size
        y, x = np.mgrid[:height, :width]
        to_x, to_y = np.stack([camera.flow(height, width) + np.stack([x, y]) for camera in self.cameras()], axis=1)
        edge = WARP_MARGIN_PX + _BESIDE_PX
        return (to_x >= edge) & (to_x < width - edge) & (to_y >= edge) & (to_y < height - edge)

    def relative_flow(self) -> Floats:
        """Exact motion against the background: where a camera that stood still would see each point next."""
        height, width = self.size
        y, x = np.mgrid[:height, :width].astype(np.float64)
        moved = self.truth.flow.transpose(0, 3, 1, 2) + np.stack([x, y])
        undone = [np.linalg.inv(camera.homography) for camera in self.cameras()]
        steady = [np.tensordot(to[:2, :2], at, 1) + to[:2, 2, None, None] for to, at in zip(undone, moved, strict=True)]
        return np.stack(steady) - np.stack([x, y])


def _morphed(how: Callable[..., object], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return np.asarray(how(mask.astype(np.uint8), np.ones((2 * _BESIDE_PX + 1,) * 2))) > 0


def _rendered(name: str, quick: bool) -> Iterator[_Clip]:
    size, frames, seeds = (96, 3, 1) if quick else (160, 4, 3)
    print(f"warped: {name}", file=sys.stderr)
    for seed in range(seeds):
        for motion in _ACTORS:
            yield _render(motion, size, frames, seed, **_CAMERAS[name])


def _render(
    motion: str, size: int, frames: int, seed: int, *, pan_px: float = 0, roll_rad: float = 0, zoom: float = 0
) -> _Clip:
    spec = SynthSpec(size_px=size, frames=frames, radius_px=size / 5, growth=(0.01, 0.02))
    rng = np.random.default_rng(seed)
    look = draw_look(spec, rng)
    actor, _ = draw_poses(find_motion(motion), spec, rng)
    tau, heading, sense = clip_times(frames), rng.uniform(0, 2 * np.pi), rng.choice((-1, 1))
    scene = affines(x=0 * tau, y=0 * tau, angle=sense * roll_rad * tau, scale=np.exp(sense * zoom * tau))
    middle, part = np.full(2, size / 2), rng.uniform(0, size, 2)  # it rolls and zooms about the middle of the frame
    scene[:, :, 2] = middle - scene[:, :, :2] @ part + pan_px * tau[:, None] * (np.cos(heading), np.sin(heading))
    colours, truth = render_clip(look, actor, scene, size_px=size, noise_levels=spec.noise_levels, rng=rng)
    grey = torch.from_numpy(np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in colours]))
    return _Clip(grey, truth, tvl1_flow(grey[:-1], grey[1:], _CAPPED).numpy().astype(np.float64))


def _on_rendered(clips: dict[str, list[_Clip]]) -> str:
    rows, of_clips = [], []
    for name, group in clips.items():
        measured = [_measure(clip) for clip in group]
        of_clips += measured if name != "still" else []
        rows.append([name, *_row(measured)])
    rows.append(["every moving one", *_row(of_clips)])
    header = [
        "camera", "pairs", "background, raw (px)", "warped: mean", "median of clips", "worst clip", "camera found",
        "its error (px)", "actor's error (px)", "CPU ms a pair",
    ]  # fmt: skip
    size = next(iter(clips.values()))[0].size
    title = f"Warped flow of rendered clips, {size[1]}x{size[0]}: motion left on the background"
    return markdown(title, header, rows, "Mean lengths over pixels, then over clips; CPU: median over pairs.", "")


@dataclass(frozen=True)
class _Measured:
    raw_px: float
    warped_px: float
    found: list[bool]
    camera_error_px: float
    actor_error_px: float
    cpu_ms: list[float]


def _measure(clip: _Clip) -> _Measured:
    _, warped, cameras = warped_flow(clip.frames[:-1], clip.frames[1:], _CAPPED)
    residual, behind, actor = warped.numpy().astype(np.float64), clip.background(), clip.actor()
    wrong = [a.flow(*clip.size) - b.flow(*clip.size) for a, b in zip(cameras, clip.cameras(), strict=True)]
    actor_error = _length(residual - clip.relative_flow())[actor]
    return _Measured(
        raw_px=float(_length(clip.raw)[behind].mean()),
        warped_px=float(_length(residual)[behind].mean()),
        found=[camera.found for camera in cameras],
        camera_error_px=float(_length(np.stack(wrong)).mean()),
        actor_error_px=float(actor_error.mean()) if actor_error.size else float("nan"),
        cpu_ms=[_cpu_ms(estimate_camera, *pair) for pair in clip.pairs()],
    )


def _row(measured: list[_Measured]) -> list[str]:
    warped = [clip.warped_px for clip in measured]
    found = [one for clip in measured for one in clip.found]
    times = [ms for clip in measured for ms in clip.cpu_ms]
    return [
        str(len(found)),
        f"{np.mean([clip.raw_px for clip in measured]):.2f}",
        f"{np.mean(warped):.3f}",
        f"{np.median(warped):.3f}",
        f"{np.max(warped):.3f}",
        f"{100 * np.mean(found):.0f} %",
        f"{np.mean([clip.camera_error_px for clip in measured]):.3f}",
        f"{np.nanmean([clip.actor_error_px for clip in measured]):.3f}",
        f"{np.median(times):.1f}",
    ]


def _with_other_features(clips: dict[str, list[_Clip]], quick: bool) -> str:
    moving = [clip for name, group in clips.items() if name != "still" for clip in group]
    shifts = list(_too_fast(quick))
    rows = []
    for name, matches in {"none": _no_matches, "ORB": None, "SIFT": _sift_matches}.items():
        print(f"warped: features {name}", file=sys.stderr)
        with mock.patch.object(camera_module, "_feature_matches", matches or camera_module._feature_matches):
            slow = [
                _camera_error(*known) for clip in moving for known in zip(clip.pairs(), clip.cameras(), strict=True)
            ]
            fast = [_camera_error(pair, exact) for pair, exact in shifts]
            times = [_cpu_ms(estimate_camera, *pair) for pair, _ in shifts]
        caught = np.mean([error < 0.5 for error in fast])
        rows.append(
            [name, f"{np.mean(slow):.3f}", f"{np.max(slow):.3f}", f"{100 * caught:.0f} %", f"{np.median(times):.1f}"]
        )
    header = ["features", "camera's error (px)", "worst pair", "fast pans found to 0.5 px", "CPU ms a pair (200x160)"]
    return markdown(
        "Features beside the corners that follow the flow", header, rows,
        "Fast pans: 10, 14 and 20 px between crops of one frame, real ones where there are any.", "",
    )  # fmt: skip


Pair = tuple[Frame, Frame, npt.NDArray[np.float32]]


def _too_fast(quick: bool) -> Iterator[tuple[Pair, Camera]]:
    """Crops [160, 200] of one frame, too far apart for the flow to follow."""
    noise = cv2.GaussianBlur(np.random.default_rng(0).normal(size=(240, 320)), (0, 0), 2)
    worlds = [np.clip(128 + 40 * noise / noise.std(), 0, 255).astype(np.uint8)]
    if data := shared_data():
        files = [REAL_CLIPS[name] for name in (_SHOWN if quick else REAL_CLIPS)]
        worlds += [read_frames(data / "clips" / file, [30], pixel_format="gray")[0] for file in files]
    for world in worlds:
        for shift in (10, 14, 20):
            first, second = world[40:200, 40:240], world[40:200, 40 - shift : 240 - shift]
            flow = tvl1_flow(*(torch.from_numpy(np.array(crop))[None] for crop in (first, second)), _CAPPED)
            pan = np.array([[1.0, 0, shift], [0, 1, 0], [0, 0, 1]])
            yield (first.copy(), second.copy(), flow[0].numpy()), Camera(pan, 0, 0)


def _no_matches(*_: object) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    return np.empty((0, 2), np.float32), np.empty((0, 2), np.float32)


def _sift_matches(
    first: Frame, second: Frame, allowed: Frame | None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    detector = cv2.SIFT_create(500)
    keys_first, described_first = detector.detectAndCompute(first, allowed)
    keys_second, described_second = detector.detectAndCompute(second, None)
    if not keys_first or not keys_second:
        return _no_matches()
    pairs = cv2.BFMatcher(cv2.NORM_L2, crossCheck=True).match(described_first, described_second)
    start = np.array([keys_first[pair.queryIdx].pt for pair in pairs], np.float32).reshape(-1, 2)
    end = np.array([keys_second[pair.trainIdx].pt for pair in pairs], np.float32).reshape(-1, 2)
    near = (np.abs(end - start) <= 25).all(axis=1)
    return start[near], end[near]


def _camera_error(pair: Pair, exact: Camera) -> float:
    height, width = pair[0].shape
    found = estimate_camera(*pair)
    return float(_length((found.flow(height, width) - exact.flow(height, width))[None]).mean())


def _on_real(quick: bool) -> str:
    data = shared_data()
    rows = []
    for name in _SHOWN if data else ():
        print(f"warped: {name}", file=sys.stderr)
        frames = torch.from_numpy(read_frames(data / "clips" / REAL_CLIPS[name], pixel_format="gray"))
        at = torch.linspace(2, len(frames) - 3, 4 if quick else 24).long()
        first, second = frames[at], frames[at + 1]
        flow, warped, cameras = warped_flow(first, second, _CAPPED)
        raw, left = (_length(field.numpy()) for field in (flow, warped))
        pairs = zip(first.numpy(), second.numpy(), flow.numpy(), strict=True)
        times = [_cpu_ms(estimate_camera, *pair) for pair in pairs]
        rows.append(
            [
                name, len(at), f"{raw.mean():.2f}", f"{left.mean():.2f}", f"{np.median(raw):.2f}",
                f"{np.median(left):.2f}", f"{100 * np.mean([camera.found for camera in cameras]):.0f} %",
                f"{100 * np.mean([camera.found and not camera.moves for camera in cameras]):.0f} %",
                f"{np.median(times):.1f}",
            ]
        )  # fmt: skip
    header = [
        "clip", "pairs", "raw: mean (px)", "warped: mean", "raw: median", "warped: median", "camera found",
        "standing still", "CPU ms a pair",
    ]  # fmt: skip
    return markdown("Warped flow of real clips", header, rows) if rows else "No real clips at ../shared/data.\n"


def _length(flow: npt.NDArray[np.floating]) -> Floats:
    """Lengths [N, H, W] of vectors [N, 2, H, W]."""
    return np.hypot(flow[:, 0], flow[:, 1])


def _cpu_ms(work: Callable[..., object], *args: object) -> float:
    before = time.thread_time()
    work(*args)
    return 1000 * (time.thread_time() - before)


if __name__ == "__main__":
    print(table(quick="--quick" in sys.argv))
