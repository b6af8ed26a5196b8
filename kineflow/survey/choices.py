"""All choices for a set, a machine and a budget, in the order in which one leads to the next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kineflow.selection.settings import DescribeSettings
from kineflow.spec.preprocessing import Fit
from kineflow.spec.split import Split
from kineflow.spec.tvl1 import Preset
from kineflow.survey import rules
from kineflow.survey.costs import LONGEST_SEC, Costs, Trial, measure_costs
from kineflow.survey.estimate import START_SEC, Estimate, RunPart, Volume, before_training, choosing, training
from kineflow.survey.facts import Header
from kineflow.survey.machine import Machine
from kineflow.survey.motion import Motion
from kineflow.survey.rules import Chosen, Descriptor, NetworkSize, Steps, Window
from kineflow.survey.survey_set import SeenClip, quantile_of

_STEPS_OF_D3D = 8
_STEPS_OF_BLEND = 3
_STEPS_OF_FOLDS = 5
_TRIED = 5
_MB_UNTRIED = 40.0
_MOST_WINDOWS = DescribeSettings.model_fields["windows"].default


@dataclass(frozen=True)
class Choices:
    """Parameters, each with its reason, and what the run will take.

    Attributes:
        fps, short_side, preset, bound_px, flow_std, fit: See :mod:`kineflow.survey.rules`.
        window, network, batch, steps, precision, cache_mb, flip, monitor, views: See there; of a recipe that trains.
        descriptor: Of a linear model on descriptions.
        blend: Whether there is one beside networks.
        workers: Videos at a time.
        estimate: Time and memory.
        costs: What was measured for it.
    """

    fps: Chosen[float]
    short_side: Chosen[int]
    preset: Chosen[Preset]
    bound_px: Chosen[float]
    flow_std: Chosen[float]
    fit: Chosen[Fit]
    window: Chosen[Window]
    network: Chosen[NetworkSize]
    batch: Chosen[int]
    steps: Chosen[Steps]
    precision: Chosen[Literal["auto", "bf16"]]
    cache_mb: Chosen[int]
    flip: Chosen[bool]
    monitor: Chosen[Literal["top1", "loss"]]
    views: Chosen[int]
    descriptor: Chosen[Descriptor]
    blend: Chosen[bool]
    workers: Chosen[int]
    estimate: Estimate
    costs: Costs


def choose(
    clips: Sequence[SeenClip],
    motion: Motion,
    *,
    classes: Sequence[str],
    fps: Chosen[float],
    side: Chosen[int],
    root: str,
    train_clips: int,
    val_clips: int,
    folds: int,
    budget_sec: float,
    machine: Machine,
) -> Choices:
    """Choose everything, and measure what it costs here.

    Args:
        clips: That can be used.
        motion: Of a sample.
        classes: Their names.
        fps, side: Chosen before the clips were looked at.
        root: Of the source.
        train_clips, val_clips: Labelled clips to train and to validate on.
        folds: K, where folds choose among models; 0 where one split is trained on.
        budget_sec: For the whole run.
        machine: This one.
    """
    seconds = quantile_of(clips, lambda header: header.seconds, 0.1)
    median_sec = quantile_of(clips, lambda header: header.seconds, 0.5)
    rate = fps.value or quantile_of(clips, lambda header: header.fps, 0.5) or 25.0
    aspect = quantile_of(clips, aspect_of, 0.5) or 1.0
    window = rules.window(seconds, rate, machine)
    size = rules.network(machine, train_clips, side.value)
    described = rules.descriptor(seconds, rate, side.value)
    preset, bound = rules.preset(motion), rules.flow_bound(motion, trains=not folds)

    trial_batch = 8 if machine.gpu else 16
    short = [clip for clip in clips if 0 < clip.look.file_sec <= LONGEST_SEC]
    names = tuple(dict.fromkeys(clip.listed.source for clip in short[:: max(1, len(short) // _TRIED)]))[:_TRIED]
    costs = measure_costs(
        Trial(root, names, side.value, fps.value, preset.value, bound.value,
              None if folds else size.value, described.value, window.value, trial_batch)
    )  # fmt: skip
    batch = rules.batch(machine, costs.mb_per_clip or _MB_UNTRIED, train_clips)
    precision = rules.precision(costs.bf16_speedup)
    step_sec = costs.step_sec * batch.value / trial_batch
    if precision.value == "bf16":
        step_sec /= costs.bf16_speedup

    before = before_training(costs, volume_of(clips, side.value, fps.value), machine)
    lasts = described.value.frames / rate
    windows = sum(
        min(_MOST_WINDOWS, max(1, math.ceil(clip.header.seconds / lasts)))
        for clip in clips
        if folds or clip.listed.label is not None
    )
    linear = choosing(costs, windows, bool(described.value.backbone), machine, nested=bool(folds))
    train = [(clip.listed.label, clip.listed.group) for clip in clips if clip.listed.split is Split.TRAIN]
    blend = rules.blend(train, sum(part.seconds for part in linear), budget_sec)
    if folds or blend.value:
        before = (*before, *linear)
    taught = 2 if any(clip.listed.split is Split.UNLABELLED for clip in clips) else 1
    started = _STEPS_OF_FOLDS if folds else _STEPS_OF_D3D + taught + _STEPS_OF_BLEND * blend.value
    starts = RunPart("starting", START_SEC * started, "imports and bookkeeping")
    left = budget_sec - sum(part.seconds for part in before) - starts.seconds
    steps = rules.steps(train_clips, batch.value, left, step_sec, taught=taught)
    stored_mb = side.value * side.value * aspect * 3 * median_sec * rate / 2**20
    cache = rules.cache_mb(stored_mb * (5 / 3), len(clips), machine)  # flow has two channels beside RGB's three
    trains = step_sec and not folds
    networks = training(step_sec, steps.value, machine, taught=taught) if trains else ()
    memory = costs.peak_mb + (0 if folds else cache.value)
    return Choices(
        fps=fps,
        short_side=side,
        preset=preset,
        bound_px=bound,
        flow_std=rules.flow_std(motion, bound.value),
        fit=rules.fit(motion, aspect),
        window=window,
        network=size,
        batch=batch,
        steps=steps,
        precision=precision,
        cache_mb=cache,
        flip=rules.flip(classes),
        monitor=rules.monitor(val_clips),
        views=rules.views(median_sec, ((window.value.frames - 1) * window.value.stride_frames + 1) / rate),
        descriptor=described,
        blend=blend,
        workers=Chosen(machine.cores, str(machine)),
        estimate=Estimate((*before, *networks, starts), memory),
        costs=costs,
    )


def volume_of(clips: Sequence[SeenClip], side: int, fps: float) -> Volume:
    """Pixels of the videos as they are, and of the stored clips, in millions."""
    source = stored = 0.0
    for clip in clips:
        header = clip.header
        rate = header.fps or 25.0
        source += header.width * header.height * header.seconds * rate
        scale = min(1.0, side / max(header.short_side, 1))
        stored += header.width * header.height * scale**2 * header.seconds * (fps or rate)
    return Volume(source / 1e6, stored / 1e6)


def aspect_of(header: Header) -> float:
    """Longer over shorter side."""
    return max(header.width, header.height) / max(header.short_side, 1)
