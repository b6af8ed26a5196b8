"""How well near copies and clips that stand still are found among stored clips, and what looking at a clip costs.

Run it as ``python benchmarks/near_duplicates.py [--quick]``. Copies of many kinds are planted of clips of three
sets: synthetic ones (groups share a scene), surveillance clips (many of one camera), and pieces of two seconds of film
and sport clips (pieces of one clip share scene and camera). Real ones are in ../shared/data; without them there is the
first set alone. A pair counts as found where both correlations reach the default of ``validation.copy_correlation``.

Recall is the share of copies found as such of their original; a false pair is one of clips of two originals. CPU time
is that of one thread, decoding counted in.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from flow_tables.layout import markdown
from flow_tables.pairs import shared_data

from kineflow.data.clip_contents import ClipContent, content_of
from kineflow.data.near_copies import likeness
from kineflow.data.validation.settings import ValidationSettings
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.spec.arrays import Pixels
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.synth.dataset import make_dataset
from kineflow.synth.spec import GroupCounts, SynthSpec
from kineflow.video.decode import read_video
from kineflow.video.encode import write_video
from kineflow.video.index import index_video

LIMITS = ValidationSettings()
SIDE_PX = 128
PIECE_SECONDS = 2.0
SEED = 20


@dataclass(frozen=True)
class Film:
    """A clip in memory: uint8 [T,H,W,3] of even sides, and its rate."""

    frames: Pixels
    fps: float


Change = Callable[[Film], Film]


def _frames(change: Callable[[Pixels], Pixels], *, rate: float = 1.0) -> Change:
    return lambda film: Film(change(film.frames), film.fps * rate)


def _even(length: float) -> int:
    return max(2, round(length / 2) * 2)


def _scaled(frames: Pixels, factor: float) -> Pixels:
    size = _even(frames.shape[2] * factor), _even(frames.shape[1] * factor)
    return np.stack([cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in frames])


def _lit(frames: Pixels) -> Pixels:
    return np.clip(frames.astype(np.float32) * 1.1 + 15, 0, 255).astype(np.uint8)


def _cropped(frames: Pixels, share: float) -> Pixels:
    top, left = _even(frames.shape[1] * share), _even(frames.shape[2] * share)
    return np.ascontiguousarray(frames[:, top:-top, left:-left])


def _still(frames: Pixels) -> Pixels:
    return np.repeat(frames[:1], len(frames), axis=0)


SAME: Change = _frames(lambda frames: frames)
KINDS: dict[str, tuple[Change, int]] = {  # what is done, and x264's rate factor
    "coded anew (crf 34)": (SAME, 34),
    "coded anew (MPEG-4)": (SAME, -1),
    "half the size": (_frames(lambda frames: _scaled(frames, 0.5)), 23),
    "last frame missing": (_frames(lambda frames: frames[:-1]), 23),
    "first frame missing": (_frames(lambda frames: frames[1:]), 23),
    "brighter (x1.1, +15)": (_frames(_lit), 23),
    "two frames of three": (_frames(lambda frames: frames[np.arange(len(frames)) % 3 != 2], rate=2 / 3), 23),
    "0.6 of the size, brighter, first missing": (_frames(lambda frames: _lit(_scaled(frames, 0.6))[1:]), 32),
    "cropped by 3 % a side": (_frames(lambda frames: _cropped(frames, 0.03)), 23),
    "cropped by 8 % a side": (_frames(lambda frames: _cropped(frames, 0.08)), 23),
    "a tenth cut off at the end": (_frames(lambda frames: frames[: round(len(frames) * 0.9)]), 23),
    "mirrored": (_frames(lambda frames: np.ascontiguousarray(frames[:, :, ::-1])), 23),
}
STILL = {"frozen, crf 18": 18, "frozen, crf 28": 28, "frozen, crf 36": 36}


def synthetic(folder: Path, *, quick: bool) -> Iterator[Film]:
    groups = GroupCounts(train=4 if quick else 12, val=1, test=1, unlabelled=0)
    made = make_dataset(folder, SynthSpec(groups=groups), seed=SEED)
    for path in sorted((made.folder / "videos").rglob("*.mp4")):
        yield read(path)


def surveillance(data: Path, *, quick: bool) -> Iterator[Film]:
    for row in list(csv.DictReader((data / "fight" / "clips.csv").open()))[:: 8 if quick else 2]:
        yield read(data / "fight" / row["path"])


def pieces(data: Path, *, quick: bool) -> Iterator[Film]:
    for path in sorted(each for each in (data / "clips").iterdir() if each.suffix in (".avi", ".mp4")):
        film = read(path)
        length = round(PIECE_SECONDS * film.fps)
        for first in range(0, len(film.frames) - length + 1, length * (3 if quick else 1)):
            yield Film(film.frames[first : first + length], film.fps)


def read(path: Path) -> Film:
    index = index_video(path)
    scale = min(1.0, SIDE_PX / min(index.width, index.height))
    video = read_video(path, size=(_even(index.width * scale), _even(index.height * scale)))
    return Film(video.frames, video.fps or 25.0)


def looked_at(film: Film, crf: int, folder: Path) -> ClipContent:
    """A clip coded as it is told and then as ingest stores it."""
    coded, stored = folder / ("coded.mp4" if crf >= 0 else "coded.avi"), folder / "stored.mp4"
    if crf >= 0:
        write_video(coded, film.frames, fps=film.fps, crf=crf, gop=60)
    else:
        _write_mpeg4(coded, film)
    frames = read_video(coded).frames
    write_video(stored, frames, fps=film.fps)
    height, width = frames.shape[1:3]
    row = ("c", stored.name, "x", "g", Split.TRAIN, len(frames), film.fps, width, height, 0, "", Status.OK, "", "")
    clip = Clip(*row)
    return content_of(ClipSet(("x",), (clip,), str(folder)), clip)


def _write_mpeg4(path: Path, film: Film) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=max(1, round(film.fps)))
        stream.height, stream.width = film.frames.shape[1:3]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 300_000
        for frame in film.frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())


@dataclass(frozen=True)
class Measured:
    """Of one set: recall by kind, false pairs of all, the highest likeness of one, and still clips told by kind."""

    clips: int
    recall: dict[str, float]
    false: int
    pairs: int
    highest: float
    still: dict[str, float]
    moving_told: int


def measure(films: list[Film], folder: Path) -> Measured:
    originals = [looked_at(film, 18, folder) for film in films]
    kinds = list(KINDS)
    recall: dict[str, list[bool]] = {kind: [] for kind in kinds}
    others: list[float] = []
    for number, film in enumerate(films):
        for kind in itertools.islice(itertools.cycle(kinds), number * 5, number * 5 + 5):
            change, crf = KINDS[kind]
            copy = looked_at(change(film), crf, folder)
            recall[kind].append(likeness(originals[number], copy) >= LIMITS.copy_correlation)
            if kind != "mirrored":
                others += [likeness(each, copy) for each in originals[:number] + originals[number + 1 :]]
    others += [likeness(*pair) for pair in itertools.combinations(originals, 2)]
    still = {
        kind: [looked_at(_frames(_still)(film), crf, folder).change < LIMITS.min_change for film in films[::5]]
        for kind, crf in STILL.items()
    }
    return Measured(
        len(films),
        {kind: float(np.mean(found)) for kind, found in recall.items() if found},
        sum(value >= LIMITS.copy_correlation for value in others),
        len(others),
        max(others),
        {kind: float(np.mean(told)) for kind, told in still.items()},
        sum(each.change < LIMITS.min_change for each in originals),
    )


def cost(film: Film, folder: Path, *, side: int) -> float:
    """Milliseconds of CPU time to look at a clip that is stored with a shorter side of ``side`` pixels."""
    frames = _scaled(film.frames, side / min(film.frames.shape[1:3]))
    write_video(folder / "stored.mp4", frames, fps=film.fps)
    height, width = frames.shape[1:3]
    row = ("c", "stored.mp4", "x", "g", Split.TRAIN, len(frames), film.fps, width, height, 0, "", Status.OK, "", "")
    clip = Clip(*row)
    clip_set, spent = ClipSet(("x",), (clip,), str(folder)), []
    for _ in range(5):
        start = time.process_time()
        content_of(clip_set, clip)
        spent.append(time.process_time() - start)
    return 1000 * float(np.median(spent))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer clips")
    quick, data = parser.parse_args().quick, shared_data()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sets = {"synthetic": list(synthetic(folder / "synth", quick=quick))}
        if data is not None:
            sets |= {
                "surveillance": list(surveillance(data, quick=quick)),
                "film and sport": list(pieces(data, quick=quick)),
            }
        found = {name: measure(films, folder) for name, films in sets.items()}
        costs = [(name, *(f"{cost(films[0], folder, side=side):.0f}" for side in (64, 128, 256)))
                 for name, films in sets.items()]  # fmt: skip
    rows = [[kind, *(f"{each.recall[kind]:.2f}" if kind in each.recall else "" for each in found.values())]
            for kind in KINDS]  # fmt: skip
    rows += [[f"{kind}: told", *(f"{each.still[kind]:.2f}" for each in found.values())] for kind in STILL]
    rows += [
        ["clips", *(str(each.clips) for each in found.values())],
        ["false pairs", *(f"{each.false} of {each.pairs}" for each in found.values())],
        ["most alike of two originals", *(f"{each.highest:.2f}" for each in found.values())],
        ["moving clips told as frozen", *(str(each.moving_told) for each in found.values())],
    ]
    print(markdown("Recall of near copies, and of frozen clips", ["", *found], rows, f"Seed {SEED}."))
    print(markdown("CPU time to look at a clip, ms", ["shorter side, px", "64", "128", "256"], costs))


if __name__ == "__main__":
    main()
