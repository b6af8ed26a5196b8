"""Makes a synthetic data set on disk: videos, their exact truth, and the lists that say what is what.

A folder made here holds::

    clips.csv               path,label,split,group: a plain CSV source for ingestion; unlabelled clips have no label
    unlabelled_truth.csv    path,class of the unlabelled clips, for experiments that measure against all labels
    videos/g003/g003_c07.mp4
    truth/g003/g003_c07.npz see kineflow.synth.truth
    synth.json              the specification and the seed

Names say nothing of the class: clips are numbered in random order within their group.
"""

from __future__ import annotations

import contextlib
import csv
import json
import multiprocessing
import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_folder
from kineflow.storage.progress import track
from kineflow.synth.motions import find_motion
from kineflow.synth.render import Look, render_clip
from kineflow.synth.spec import GroupCounts, SynthSpec
from kineflow.synth.staging import draw_look, draw_poses
from kineflow.synth.truth import save_truth

__all__ = ["GroupCounts", "MadeSet", "SynthSpec", "make_dataset", "truth_path"]

CLIPS_FILE = "clips.csv"
UNLABELLED_TRUTH_FILE = "unlabelled_truth.csv"
MARKER_FILE = "synth.json"
GENERATOR_VERSION = 2  # raise it when the same specification and seed would give other clips

_GOP_FRAMES = 12


@dataclass(frozen=True)
class MadeSet:
    """A data set on disk.

    Attributes:
        folder: Where it lies.
        clips: Number of clips.
        made: False when the same set had been made before and was left as it is.
    """

    folder: Path
    clips: int
    made: bool


@dataclass(frozen=True)
class _Group:
    """One unit of work: an actor in a scene, and all its clips."""

    folder: Path
    spec: SynthSpec
    seed: int
    name: str
    split: Split
    index: int  # among the groups of its split


@dataclass(frozen=True)
class _Row:
    path: str
    motion: str
    split: Split
    group: str


def make_dataset(folder: Path, spec: SynthSpec, *, seed: int, workers: int = 1) -> MadeSet:
    """Make the data set, whole or not at all; do nothing when ``folder`` already holds this very set.

    The bytes depend on ``spec`` and ``seed`` only. A clip's random numbers derive from its split, group, class and
    take, so that more groups, takes or workers leave the other clips as they are.

    Args:
        folder: Where to; an older synthetic set there is replaced.
        spec: What to make.
        seed: At least 0.
        workers: Processes; with 1 the work is done in this one.

    Raises:
        KineflowError: ``folder`` holds something else than a synthetic set.
    """
    marker = _marker(spec, seed)
    groups = [(split, index) for split in Split for index in range(getattr(spec.groups, split.value))]
    clips = len(groups) * len(spec.classes) * spec.takes
    if _read_marker(folder) == marker:
        return MadeSet(folder, clips, made=False)
    with atomic_folder(folder) as partial:
        digits = max(3, len(str(len(groups) - 1)))
        work = [
            _Group(partial, spec, seed, f"g{number:0{digits}}", split, index)
            for number, (split, index) in enumerate(groups)
        ]
        made = track(_make_groups(work, workers), total=len(work), what="synthetic clips", unit="group")
        rows = [row for group in made for row in group]
        _write_csv(partial / CLIPS_FILE, ("path", "label", "split", "group"), map(_listed, rows))
        hidden = [(row.path, row.motion) for row in rows if row.split is Split.UNLABELLED]
        _write_csv(partial / UNLABELLED_TRUTH_FILE, ("path", "class"), hidden)
        (partial / MARKER_FILE).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
    return MadeSet(folder, clips, made=True)


def truth_path(folder: Path, video: str) -> Path:
    """Where the truth of a clip lies, given the path that ``clips.csv`` lists for it."""
    return folder / PurePosixPath("truth", *PurePosixPath(video).parts[1:]).with_suffix(".npz")


def _make_groups(work: list[_Group], workers: int) -> Iterator[list[_Row]]:
    if workers <= 1:
        yield from map(_make_group, work)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(work)), mp_context=context, initializer=_start_worker) as pool:
        try:
            yield from pool.map(_make_group, work)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """One thread a process; Ctrl-C is the parent's to handle."""
    import cv2

    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _make_group(group: _Group) -> list[_Row]:
    """Render, encode and describe every clip of a group."""
    spec = group.spec
    draw = _generator(group)
    look = draw_look(spec, draw)
    takes = [(name, take) for name in spec.classes for take in range(spec.takes)]
    rows = []
    digits = max(2, len(str(len(takes) - 1)))
    for number, index in enumerate(draw.permutation(len(takes))):
        motion, take = takes[index]
        video = f"videos/{group.name}/{group.name}_c{number:0{digits}}.mp4"
        _make_clip(group, look, motion, take, video)
        rows.append(_Row(video, motion, group.split, group.name))
    return rows


def _make_clip(group: _Group, look: Look, motion: str, take: int, video: str) -> None:
    from kineflow.video.encode import write_video

    spec = group.spec
    rng = _generator(group, *motion.encode(), take)
    actor, scene = draw_poses(find_motion(motion), spec, rng)
    frames, truth = render_clip(look, actor, scene, size_px=spec.size_px, noise_levels=spec.noise_levels, rng=rng)
    write_video(group.folder / video, frames, fps=spec.fps, crf=spec.crf, gop=_GOP_FRAMES)
    save_truth(truth, truth_path(group.folder, video))


def _generator(group: _Group, *key: int) -> np.random.Generator:
    """Random numbers of one group, or of one clip in it; independent of the order in which anything is made."""
    spawn_key = (list(Split).index(group.split), group.index, *key)
    return np.random.default_rng(np.random.SeedSequence(group.seed, spawn_key=spawn_key))


def _listed(row: _Row) -> tuple[str, str, str, str]:
    label = "" if row.split is Split.UNLABELLED else row.motion
    return row.path, label, row.split.value, row.group


def _write_csv(path: Path, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, *rows])


def _marker(spec: SynthSpec, seed: int) -> dict[str, object]:
    made_of: dict[str, object] = {"generator": GENERATOR_VERSION, "seed": seed, "spec": spec.model_dump(mode="json")}
    return made_of


def _read_marker(folder: Path) -> object:
    """What the folder was made of; None when there is nothing yet.

    Raises:
        KineflowError: The folder holds something that was not made here, which must not be deleted.
    """
    if not folder.exists():
        return None
    with contextlib.suppress(OSError, ValueError):
        return json.loads((folder / MARKER_FILE).read_text(encoding="utf-8"))
    if folder.is_dir() and not any(folder.iterdir()):
        return None
    raise KineflowError(
        "holds something other than a synthetic data set, and making one would replace it",
        where=folder,
        remedy="give another folder, or empty this one",
    )
