"""How large a run is, before it starts: its data, and about how much disk, memory and time it takes.

Frames are told by the headers of a few videos, bytes a pixel are those of docs/scale.md, operations are counted.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kineflow.storage.errors import KineflowError
from kineflow.storage.project import media_folder
from pipelines.plan import Listed, Plan
from pipelines.training_needs import TrainingNeed, map_bytes_of, training_needs

if TYPE_CHECKING:
    from kineflow.survey.machine import Machine

CLIP_BYTES = (0.035, 0.046)
"""Of a stored clip, a pixel of a frame: UCF101's at 320x240, and Kinetics' at 340x256, by docs/scale.md."""

FLOW_BYTES = (0.045, 0.064)
"""Of a flow set, a pixel of a field; likewise."""

ASSUMED_RATE = 989e12 * 0.2
"""Operations a second of a GPU that is not here: docs/scale.md's assumption, an H200 at a fifth of its peak."""

_SAMPLE = 24


@dataclass(frozen=True)
class _Size:
    """Of all videos: how many there are, their bytes, frames, and millions of pixels as they are and as stored."""

    videos: int
    file_bytes: float
    frames: float
    source_pixels: float
    stored_pixels: float


def estimate_needs(plan: Plan) -> tuple[tuple[str, ...], list[KineflowError]]:
    """What a run takes, in lines for people, and what this machine has too little of."""
    size = _size_of(plan.listed) if plan.listed else None
    trainings, unknown = training_needs(plan)
    lines: list[str] = []
    faults: list[KineflowError] = []
    if size:
        frames = float(f"{size.frames:.2g}")
        lines.append(f"data    {size.videos:,} videos of {_amount(size.file_bytes)}, about {frames:,.0f} frames")
        for folder, what, least, most in _disk(plan, size):
            if plan.where == "cluster":
                lines.append(f"disk    {what}: about {_amount(least)} to {_amount(most)}")
                continue
            free = shutil.disk_usage(_existing(folder)).free
            lines.append(f"disk    {what}: about {_amount(least)} to {_amount(most)} in {folder}, {_amount(free)} free")
            if least > free + _bytes_within(folder):
                faults.append(
                    _too_little("disk", least, free, str(folder), "free some, or set media_root to a larger one")
                )
    else:
        lines.append("data    not here to be measured; docs/scale.md has what UCF101 and Kinetics-400 take")
    if plan.where == "cluster":
        lines += _elsewhere(trainings)
    else:
        from kineflow.survey.machine import this_machine

        machine = this_machine()
        lines += _memory(trainings, machine, faults)
        lines += _time(trainings, size, machine, flow_sets=len(_flow_tasks(plan)))
    if unknown and lines:
        lines.append(f"        (without {', '.join(unknown)}, of which this is not known)")
    return tuple(lines), faults


def _size_of(listed: Listed) -> _Size | None:
    from kineflow.survey.look import read_headers

    by_source = {clip.source: clip for clip in listed.clips}
    files = list(by_source.values())
    headers = read_headers(files[:: max(1, len(files) // _SAMPLE)][:_SAMPLE], listed.source)
    films = [header for header in headers if header.seconds and header.fps]
    if not films:
        return None
    each = len(files) / len(films)
    form, frames, source, stored = listed.settings, 0.0, 0.0, 0.0
    for film in films:
        pixels, rate = film.width * film.height, form.fps or film.fps
        frames += film.seconds * film.fps
        source += film.seconds * film.fps * pixels / 1e6
        of_a_frame = math.prod(form.exact_size or (pixels, min(1.0, form.short_side / film.short_side) ** 2))
        stored += film.seconds * rate * of_a_frame / 1e6
    root = Path(listed.source.root)
    in_all = float(sum((root / clip.source).stat().st_size for clip in files))
    return _Size(len(files), in_all, each * frames, each * source, each * stored)


def _disk(plan: Plan, size: _Size) -> Iterator[tuple[Path, str, float, float]]:
    """Folders here that media are stored in, what of, and how many bytes at least and at most."""
    needs: dict[Path, list[tuple[str, float, float]]] = {}
    for task in plan.graph.tasks:
        key = task.sections.get("params", "")
        if task.step == "ingest":
            what, (least, most) = "clips", CLIP_BYTES
        elif task in _flow_tasks(plan):
            what, (least, most) = "flow", FLOW_BYTES
        elif task.step == "extract_features":
            least = most = map_bytes_of(task, plan) * size.frames / max(size.stored_pixels * 1e6, 1.0)
            what = "features"
        else:
            continue
        place = plan.values[key].get("media_root", "")
        if "://" not in place:
            folder = plan.project / place if place else media_folder(plan.project)
            pixels = size.stored_pixels * 1e6
            needs.setdefault(folder, []).append((what, pixels * least, pixels * most))
    for folder, parts in needs.items():
        named = ", ".join(dict.fromkeys(what for what, _, _ in parts))
        yield folder, named, sum(least for _, least, _ in parts), sum(most for _, _, most in parts)


def _flow_tasks(plan: Plan) -> list[object]:
    return [
        task
        for task in plan.graph.tasks
        if task.step == "extract_flow"
        and plan.values[task.sections["params"]].get("splits", True)
        and not plan.values[task.sections["params"]].get("existing")
    ]


def _memory(trainings: Sequence[TrainingNeed], machine: Machine, faults: list[KineflowError]) -> Iterator[str]:
    if not trainings:
        return
    largest = max(trainings, key=lambda need: need.memory_bytes)
    has = (machine.gpu_memory_mb or machine.memory_mb) * 2**20
    there_is = f"the GPU has {_amount(has)}" if machine.gpu else f"{_amount(has)} free"
    half = ", about half in bfloat16" if machine.gpu else ""
    need = f"a training step of {largest.task} at least {_amount(largest.memory_bytes)} in float32{half}"
    yield f"memory  {need}; {there_is}"
    if largest.memory_bytes * (0.5 if machine.gpu else 1.0) > has:
        remedy = f"lower batch_size of {largest.task} and its learning rate with it, or train it on more devices"
        faults.append(_too_little("memory", largest.memory_bytes, has, f"a training step of {largest.task}", remedy))


def _time(trainings: Sequence[TrainingNeed], size: _Size | None, machine: Machine, *, flow_sets: int) -> Iterator[str]:
    from kineflow.survey.costs import Costs
    from kineflow.survey.estimate import Volume, before_training, in_words
    from kineflow.training.cost import operations_a_second

    parts, total = [], 0.0
    if size:
        volume = Volume(size.source_pixels, size.stored_pixels * flow_sets)
        for part in before_training(Costs(), volume, machine)[: 2 if flow_sets else 1]:
            parts.append(f"{part.what} {in_words(part.seconds)}{' on its CPUs' if machine.gpu else ''}")
            total += part.seconds
    if trainings:
        operations, rate = sum(need.operations for need in trainings), operations_a_second()
        parts.append(
            f"training {in_words(operations / rate)}: {operations / 1e12:.3g} TFLOP, "
            f"of which a wide convolution does {rate / 1e12:.2g} a second here"
        )
        if refitted := [need.task for need in trainings if need.refits]:
            parts.append(f"up to twice as long for {', '.join(refitted)}, with refit")
        total += operations / rate
    if parts:
        yield f"time    at least {in_words(total)} ({'; '.join(parts)})"


def _elsewhere(trainings: Sequence[TrainingNeed]) -> Iterator[str]:
    from kineflow.survey.estimate import in_words

    for need in trainings:
        yield (
            f"train   {need.task}: {need.operations / 1e15:.3g} PFLOP, "
            f"{in_words(need.operations / ASSUMED_RATE)} of a GPU that does {ASSUMED_RATE / 1e12:.0f} TFLOP a second"
            f"{', with refit up to twice that' if need.refits else ''}; "
            f"a step at least {_amount(need.memory_bytes)} in float32, about half in bfloat16"
        )


def _too_little(what: str, needed: float, there_is: float, where: str, remedy: str) -> KineflowError:
    return KineflowError(
        f"about {_amount(needed)} of {what} are needed, and there are {_amount(there_is)}",
        where=where,
        remedy=remedy,
    )


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _bytes_within(folder: Path) -> int:
    """Of what is stored already, which need not be stored again."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0


def _amount(size: float) -> str:
    """Bytes for people, two digits: ``17 MB``, ``1.2 TB``."""
    for unit, name in ((1e12, "TB"), (1e9, "GB")):
        if size >= unit:
            return f"{float(f'{size / unit:.2g}'):g} {name}"
    return f"{float(f'{size / 1e6:.2g}'):g} MB"
