"""Which parameters suit a set of clips and a machine: one function a choice, and why.

What is called measured here was measured on 149 surveillance clips of 2 s (fight or none, 24 recordings, 12 to 30 fps,
320×240 to 1080p) on two cores of an x86-64 CPU, or is of the demo that the README shows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Generic, Literal, TypeVar

from kineflow.models.weights_table import weights_named
from kineflow.spec.preprocessing import Fit
from kineflow.spec.quantise import DEFAULT_BOUND_PX
from kineflow.spec.tvl1 import Preset
from kineflow.survey.machine import Machine
from kineflow.survey.motion import Motion

T = TypeVar("T")

FEWEST_FOR_A_SPLIT = 1000
"""Fewer labelled clips are not parted into train, val and test: a test split of a fifth of 1,000 clips has an interval
of ±6 points round 75 %, and one of 149 clips of ±15; folds by group test every clip once."""

_FASTEST_FPS, _DESCRIBED_FPS = 15.0, 10.0
_LEAST_FRAMES = 16
_SAME_RATE = 0.05
_SIDES = (64, 96, 128, 160, 192, 224, 256)
_MOST_PX = {True: 256, False: 128}  # by whether there is a GPU
_FLOW_SHARE = 0.1  # of the budget, at most, for computing flow
_BLEND_SHARE = 0.2  # of the budget, at most, for a linear model beside networks
_BOUNDS_PX = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0, 25.0, 30.0, 40.0, 60.0)
_SMALL_MOTION_PX = 4.0
_CENTRE_HOLDS = 0.8
_LONGEST_WINDOW_SEC = 2.0
_MOST_FRAMES = {True: 64, False: 16}  # by whether there is a GPU
_PASSES = 100
_IMAGENET = "efficientnet_lite0-imagenet"
_DESCRIBED_SEC, _MOST_DESCRIBED, _MOST_CROP = 1.6, 64, 128
_LEAST_STEPS = 100
_DISTIL = 1.3  # of a step, where a teacher looks on
_WORTH_BF16 = 1.2
_CACHE_SHARE = 0.25  # of free memory
_SIDED = re.compile(r"(?<![a-z])(left|right|clockwise|counterclockwise|anticlockwise)(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Chosen(Generic[T]):
    """A value, and why: the comment that stands beside it."""

    value: T
    why: str


def target_fps(rates: Sequence[float], seconds: float, *, trains: bool) -> Chosen[float]:
    """The rate to which clips are resampled: the 10th percentile of the rates, at most 15 or 10, or 16 frames a clip.

    Nine of ten clips then lose frames and none of their time, one of ten repeats some; a punch takes as many frames in
    a film of 25 fps as in one of 30. Above 15 fps flow costs more and says little more: measured, the median |flow| of
    128 px high frames is .03 px from one frame to the next at 12 fps already, under half of one 8-bit step. Clips of
    half a second, as the demo's, keep what frames they have. Descriptors want the larger motion of 10 fps.

    Args:
        rates: Of the files; 0 where one states none.
        seconds: 10th percentile of the clips' lengths; 0 where it is not known.
        trains: Whether a network is trained on clips, and not a linear model on descriptors.
    """
    fastest = _FASTEST_FPS if trains else _DESCRIBED_FPS
    known = sorted(rate for rate in rates if rate > 0)
    if not known:
        return Chosen(fastest, "no file states its rate")
    slow, fast = _quantile(known, 0.1), _quantile(known, 0.9)
    most = max(fastest, _LEAST_FRAMES / seconds if seconds else 0.0)
    same = fast - slow <= _SAME_RATE * slow
    if same and fast <= most:
        return Chosen(0.0, f"as they are: all have {slow:.3g} fps")
    fps = max(1.0, float(math.floor(min(slow, most) + 0.5)))
    span = f"rates run from {known[0]:.3g} to {known[-1]:.3g}, nine of ten are {slow:.3g} or more"
    rates_are = f"all have {slow:.3g}" if same else span
    return Chosen(fps, f"{rates_are}; {most:.3g} say enough")


def short_side(
    sides: Sequence[int],
    aspect: float,
    pairs: float,
    budget_sec: float,
    machine: Machine,
    cpu_sec_per_pixel: float,
    crop: int,
) -> Chosen[int]:
    """Shorter side of stored clips: as large as the budget lets flow be computed, no larger than half of the videos.

    Flow costs what it has pixels. Measured per pixel of a pair: .3 to .5 µs of a CPU with ``fast``, .6 to 1.5 µs with
    ``deep``. A tenth of the budget may go into it; without a GPU 128 px are the most: the 99th percentile of |flow|
    in a clip tells fights from none with an AUC of .65 at 64 px and .67 at 128, for four times the work. A network
    that is trained sees ``crop`` px, and what is stored above that is computed for nothing.

    Args:
        sides: Shorter sides of the videos, px.
        aspect: Longer over shorter side, their median.
        pairs: Of frames, in all clips at the target rate.
        budget_sec: For the whole run.
        machine: This one.
        cpu_sec_per_pixel: What TV-L1 takes.
        crop: Side of what a network sees, where one is trained on these clips; 0: other models look at them too.
    """
    half = _quantile(sorted(sides), 0.5) if sides else float(_SIDES[0])
    most = next((side for side in _SIDES if side >= crop), _SIDES[-1]) if crop else _MOST_PX[bool(machine.gpu)]
    chosen, why = _SIDES[0], "the least that is of use"
    for side in _SIDES:
        cost = pairs * side * side * aspect * cpu_sec_per_pixel / machine.cores
        if side > most or side > half:
            why = f"half of the videos are {half:.0f} px or less"
            if side > most:
                why = f"networks see {crop} px" if crop else "the most that a CPU should have to do"
            break
        if not machine.gpu and cost > _FLOW_SHARE * budget_sec:
            why = f"flow at {side} px would take {cost / 60:.0f} min, more than a tenth of the budget"
            break
        chosen, why = side, "the largest"
    return Chosen(chosen, why)


def preset(motion: Motion) -> Chosen[Preset]:
    """``fast`` where 99.9 % of pixels move by up to 4 px, else ``deep``.

    Measured, the end-point error of ``fast``, ``deep`` and the full rule (``opencv``) on rendered clips of 128 px and
    film of 256: .28, .27 and .26 px where pixels move by 2 to 4 px, 2.2, 1.5 and 1.6 at 4 to 8, 9.7, 7.6 and 7.6 at 8
    to 16. ``deep`` costs 1.2 to 1.7 times as much as ``fast``.
    """
    fastest = motion.at(0.999)
    if fastest <= _SMALL_MOTION_PX:
        return Chosen("fast", f"99.9 % of pixels move by less than {fastest:.1f} px: up to 4 it is right")
    return Chosen("deep", f"one pixel of 1,000 moves by {fastest:.1f} px or more, where `fast` falls short (above 4)")


def flow_bound(motion: Motion, *, trains: bool) -> Chosen[float]:
    """The bound of stored flow: the 99.9th percentile of |flow|, rounded up; the 99th for descriptors.

    Flow is kept in 8 bits, in steps of 2·bound/255: at the default of 20 px a step is .157 px, and most of the motion
    of a surveillance clip is less than one step (measured: the median of |flow| is .03 px, the 99th percentile 4.2).
    Descriptors are quantiles and means of many pixels, which lose more by coarse steps than by a few clipped ones:
    measured, the AUC of those of flow was .83 with a bound of 2 or of 8 px and .85 with 4.
    """
    if not motion.pairs:
        return Chosen(DEFAULT_BOUND_PX, "no motion could be measured; the default")
    share = 0.999 if trains else 0.99
    fastest = motion.at(share)
    bound = next((bound for bound in _BOUNDS_PX if bound >= fastest), _BOUNDS_PX[-1])
    return Chosen(
        bound,
        f"{share:.1%} of |flow| is under {fastest:.2g} px, the median {motion.at(0.5):.2g}; an 8-bit step is "
        f"{2 * bound / 255:.2g} px",
    )


def flow_std(motion: Motion, bound_px: float) -> Chosen[float]:
    """By what stored flow is divided for a network: its spread in 8-bit levels, so that it comes out near 1.

    At least 8 levels, so that a still set does not blow up the codec's noise.
    """
    levels = motion.rms_px / bound_px * 127.5
    return Chosen(float(round(min(max(levels, 8.0), 64.0))), f"motion spreads by {levels:.0f} of 127 levels")


def fit(motion: Motion, aspect: float) -> Chosen[Fit]:
    """``squash`` the whole frame into the square where the square in its middle holds under 80 % of the motion.

    Measured: the middle of wide (16:9) frames has 56 % of their pixels and 72 % of their motion, that of 4:3 frames
    75 and 81 %. What is outside of the crop a network never sees when it is tested.
    """
    share = motion.centre_share
    if share < _CENTRE_HOLDS:
        return Chosen("squash", f"the middle square holds {share:.0%} of the motion (frames are {aspect:.2f}:1)")
    return Chosen("crop", f"the middle square holds {share:.0%} of the motion (frames are {aspect:.2f}:1)")


@dataclass(frozen=True)
class Window:
    """What a network sees of a clip at once."""

    frames: int
    stride_frames: int


def window(seconds: float, fps: float, machine: Machine) -> Chosen[Window]:
    """Frames and stride of a window that lasts as long as nine of ten clips do, at most 2 s.

    A network on a CPU sees at most 16 frames (the demo has 12): time and memory of a training step go with them.

    Args:
        seconds: 10th percentile of the clips' lengths.
        fps: Of the stored clips.
        machine: This one.
    """
    wanted = min(max(seconds, 0.4), _LONGEST_WINDOW_SEC) if seconds else 1.0
    most = _MOST_FRAMES[bool(machine.gpu)]
    total = max(4, round(wanted * fps))
    stride = max(1, math.ceil(total / most))
    frames = min(most, max(4, total // stride))
    frames -= frames % 2
    lasts = ((frames - 1) * stride + 1) / fps
    return Chosen(
        Window(frames, stride), f"{lasts:.2g} s at {fps:.3g} fps; nine of ten clips last {seconds:.2g} s or more"
    )


@dataclass(frozen=True)
class Descriptor:
    """What describes clips where folds choose among linear models.

    Attributes:
        frames: Time steps of a window.
        crop: Side of the square that it sees, pixels.
        backbone: Name of the weights that look at its frames; empty: none.
    """

    frames: int
    crop: int
    backbone: str


def descriptor(seconds: float, fps: float, side: int) -> Chosen[Descriptor]:
    """A window of 1.6 s, or of the shortest clips, and the ImageNet network of a package where that is installed.

    Measured, 16 frames at 10 fps: motion and flow alone reached 81.2 %, and what the network for images sees of the
    frames 58 to 62 %; it costs half of the time. Where classes look different and move alike it is the other way round.

    Args:
        seconds: 10th percentile of the clips' lengths.
        fps: Of the stored clips.
        side: Their shorter side, pixels.
    """
    row = weights_named(_IMAGENET)
    backbone = _IMAGENET if find_spec(row.package) else ""
    frames = max(4, min(_MOST_DESCRIBED, round(min(seconds or _DESCRIBED_SEC, _DESCRIBED_SEC) * fps)))
    looks = "ImageNet features too" if backbone else f"no ImageNet features: {row.package} is not installed"
    return Chosen(
        Descriptor(frames, min(side, _MOST_CROP), backbone), f"{frames / fps:.2g} s at {fps:.3g} fps; {looks}"
    )


def blend(train: Sequence[tuple[str | None, str]], seconds: float, budget_sec: float) -> Chosen[bool]:
    """Whether networks have to beat a linear model on descriptions: unless folds cannot choose one, or it costs much.

    Args:
        train: Label and group of each clip that is learnt from.
        seconds: It takes.
        budget_sec: For the whole run.
    """
    groups: dict[str | None, set[str]] = {}
    for label, group in train:
        groups.setdefault(label, set()).add(group)
    if lone := sorted(str(label) for label, of_it in groups.items() if len(of_it) < 2):
        return Chosen(False, f"no linear blend beside them: {lone[0]} has one group in train, and folds want two")
    if seconds > _BLEND_SHARE * budget_sec:
        return Chosen(False, f"no linear blend beside them: its {seconds / 60:.0f} min are over a fifth of the budget")
    return Chosen(True, "the best on val is registered, the simplest of equals")


@dataclass(frozen=True)
class NetworkSize:
    """Of S3D-G, and the square that it sees."""

    width: float
    last_stage: Literal["Mixed3c", "Mixed5c"]
    crop: int
    bn_momentum: float


def network(machine: Machine, clips: int, side: int) -> Chosen[NetworkSize]:
    """On a CPU the demo's network, on a GPU a whole S3D-G.

    Measured: on two cores a step of 16 clips (12 frames of 64 px) takes .2 s with the demo's network, of 71 thousand
    weights, and .6 s or more with all stages at half width, of 2.3 million; on 96 labelled clips the demo's flow
    network reaches 84 %. Not measured: where the wider one begins to pay on a GPU; 5,000 clips is a guess.
    """
    if not machine.gpu:
        return Chosen(
            NetworkSize(0.25, "Mixed3c", min(64, side), 0.1), "no GPU: the demo's network, 71 thousand weights"
        )
    wide = clips >= 5 * FEWEST_FOR_A_SPLIT
    size = NetworkSize(1.0 if wide else 0.5, "Mixed5c", min(112, side), 0.01)
    return Chosen(size, f"{machine.gpu}, {clips:,} clips: {'full' if wide else 'half'} width")


@dataclass(frozen=True)
class Steps:
    """Of teacher and students, each a multiple of its rounds."""

    teacher: int
    student: int
    rounds: int


def students_in_steps(taught: int) -> float:
    """A student that has no teacher, and some that have one, in the former's steps."""
    return 1 + taught * _DISTIL


def steps(clips: int, batch: int, seconds_left: float, step_sec: float, *, taught: int) -> Chosen[Steps]:
    """100 passes over the labelled clips, or what the budget leaves; students take five steps for a teacher's three.

    Measured with 144 real clips: after 33 passes the flow teacher had 62.2 %, after 100, its best round chosen by loss,
    70.0. Teacher and students, of whom ``taught`` have the teacher look on, share the time.
    """
    wanted = max(_LEAST_STEPS, math.ceil(_PASSES * clips / batch))
    units = 1 + students_in_steps(taught) * 5 / 3  # of a teacher's steps, all trainings together
    affordable = int(seconds_left / max(step_sec * units, 1e-9))
    teacher = max(_LEAST_STEPS, min(wanted, affordable))
    rounds = 5
    teacher = math.ceil(teacher / rounds) * rounds
    student = math.ceil(teacher * 5 / 3 / rounds) * rounds
    passes = teacher * batch / max(clips, 1)
    short = affordable < wanted
    why = f"{passes:.0f} passes over {clips:,} labelled clips" + (
        ", what the budget allows (100 are better: raise --budget)" if short else ""
    )
    return Chosen(Steps(teacher, student, rounds), why)


def batch(machine: Machine, mb_per_clip: float, clips: int) -> Chosen[int]:
    """16 clips, or as many as half of the memory holds; 32 on a GPU where there are clips for 20 such batches."""
    memory = machine.gpu_memory_mb or machine.memory_mb
    most = 32 if machine.gpu else 16
    fits = 0.5 * memory / max(mb_per_clip, 1e-6)
    size = max((n for n in (2, 4, 8, 16, 32) if n <= most and n <= fits and (n <= 16 or clips >= 20 * n)), default=2)
    return Chosen(size, f"{mb_per_clip:.0f} MB a clip in training, {memory / 1024:.0f} GB free")


def precision(speedup: float) -> Chosen[Literal["auto", "bf16"]]:
    """``bf16`` where a training step was measured to be at least 1.2 times as fast in it on this CPU.

    Measured: with AMX 1.3 times at 12 frames of 64 px and a quarter of the width, 3 times at 16 of 112 px and all of
    it; with AVX512-BF16 alone .8 and 1.3 times; without either .5 to .05 times.

    Args:
        speedup: As measured; 0 on a CPU that cannot, and on a GPU, where ``auto`` is bfloat16 anyway.
    """
    if speedup >= _WORTH_BF16:
        return Chosen("bf16", f"{speedup:.1f} times as fast as float32 on this CPU")
    return Chosen("auto", "float32, unless there is a GPU with bfloat16")


def cache_mb(clip_mb: float, clips: int, machine: Machine) -> Chosen[int]:
    """Decoded clips kept in memory: all of them where a quarter of what is free holds them, else none.

    The batches of a round come in another order every time: half a cache would save little.
    """
    wanted = math.ceil(clip_mb * clips * 1.1)
    if wanted <= _CACHE_SHARE * machine.memory_mb:
        return Chosen(max(16, wanted), f"all {clips:,} clips, decoded: {wanted} MB")
    return Chosen(0, f"all clips decoded would take {wanted / 1024:.0f} GB, too much of {machine.memory_mb / 1024:.0f}")


def flip(classes: Sequence[str]) -> Chosen[bool]:
    """Mirror training clips, unless a class's name speaks of sides."""
    sided = [name for name in classes if _SIDED.search(name.replace("_", " "))]
    if sided:
        return Chosen(False, f"left and right may be different classes: {sided[0]}")
    return Chosen(True, "no class speaks of left or right; set false where they differ")


def monitor(val_clips: int) -> Chosen[Literal["top1", "loss"]]:
    """The best round by loss where val has under 200 clips.

    Measured: by accuracy on 36 clips, a round with loss 1.46 was kept over one with .49.
    """
    if val_clips < 200:
        return Chosen("loss", f"{val_clips} clips in val: a point of accuracy is less than one clip")
    return Chosen("top1", f"{val_clips} clips in val")


def views(seconds: float, window_sec: float) -> Chosen[int]:
    """Windows over which a video is scored: as many as cover the median clip, at most 10."""
    count = min(10, max(1, math.ceil(seconds / max(window_sec, 1e-6) - 0.25)))
    return Chosen(count, f"windows of {window_sec:.2g} s cover the median clip of {seconds:.2g} s")


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
