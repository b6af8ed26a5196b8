"""What the clips of a set are like: distributions of the whole, and a few frames of each class and split to look at."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kineflow.data.clip_contents import ClipContent
from kineflow.data.clip_looks import ClipLook, look_at_all
from kineflow.data.validation.contents import Contents, copy_pairs, is_sane
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.video.decode import read_frames

_BINS = 24
_FEW_VALUES = 12  # so many are shown one by one
_TAIL = 0.005  # on either side, in the outermost bins
_MOST_CLASSES = 12
_MOST_PAIRS = 24
_EACH = 4  # thumbnails of a class in a split
_HEIGHT_PX = 96
_MOST_WIDTH_PX = 240
_JPEG_QUALITY = 80


@dataclass(frozen=True)
class Distribution:
    """How often each value occurs.

    Attributes:
        name: Of the quantity.
        unit: After its values.
        bars: Of each bar: what it stands for, how many clips, and its height as a share of the highest, in [0, 1].
        median: Of all clips.
        by_class: Median of each class that has clips, in order of classes.
    """

    name: str
    unit: str
    bars: tuple[tuple[str, int, float], ...]
    median: float
    by_class: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Thumbnails:
    """Middle frames of some clips of one class in each split, as JPEGs with the clips' ids."""

    label: str
    by_split: tuple[tuple[str, tuple[tuple[str, bytes], ...]], ...]


@dataclass(frozen=True)
class ShownClip:
    """One of two near copies: where it belongs (no label: empty), and its middle frame as a JPEG, if it can be read."""

    clip_id: str
    split: str
    label: str
    picture: bytes | None


@dataclass(frozen=True)
class ShownPair:
    """Two near copies and how alike they are, see :func:`kineflow.data.near_copies.likeness`."""

    first: ShownClip
    second: ShownClip
    likeness: float


@dataclass(frozen=True)
class Overview:
    """The page's pictures of a clip set.

    Attributes:
        distributions: Of length, rate, size, brightness and motion; those that no clip gives are left out.
        looked_at: How many clips brightness and motion are of.
        thumbnails: Of the first classes; empty where no frame could be read.
        classes_left_out: How many have no thumbnails, for there are many.
        pairs: Near copies, those that matter most.
        pairs_left_out: How many are not among them.
    """

    distributions: tuple[Distribution, ...]
    looked_at: int
    thumbnails: tuple[Thumbnails, ...]
    classes_left_out: int
    pairs: tuple[ShownPair, ...] = ()
    pairs_left_out: int = 0


def overview_of(clip_set: ClipSet, *, most_looked_at: int, contents: Contents | None = None, seed: int = 0) -> Overview:
    """Look at usable clips; those that cannot be read are left out.

    Args:
        clip_set: What is to be shown.
        most_looked_at: Clips that are decoded for brightness and motion, drawn where there are more; 0: no clip is
            decoded, and there are no thumbnails.
        contents: Of the clips, where they are known: brightness and motion are of all of them, and pictures of near
            copies are shown.
        seed: Of the draws.
    """
    usable = [clip for clip in clip_set.usable() if is_sane(clip)]
    rng = np.random.default_rng(seed)
    looks: list[tuple[Clip, ClipContent | ClipLook]]
    if contents is not None:
        looks = [(clip, look) for clip, look in zip(clip_set.clips, contents.looks, strict=True) if look is not None]
    else:
        drawn = usable
        if len(usable) > most_looked_at:
            drawn = [usable[place] for place in np.sort(rng.choice(len(usable), most_looked_at, replace=False))]
        looked = zip(drawn, look_at_all(clip_set, drawn, what="look at clips for the data page"), strict=True)
        looks = [(clip, look) for clip, look in looked if look is not None]
    seen = [clip for clip, _ in looks]
    distributions = [
        _distribution("Length", "s", usable, [clip.frames / clip.fps for clip in usable], clip_set.classes),
        _distribution("Frame rate", "frames/s", usable, [clip.fps for clip in usable], clip_set.classes),
        _distribution(
            "Shorter side", "px", usable, [min(clip.width, clip.height) for clip in usable], clip_set.classes
        ),
        _distribution("Brightness", "of 255", seen, [look.brightness for _, look in looks], clip_set.classes),
        _distribution("Motion", "grey levels/s", seen, [look.motion for _, look in looks], clip_set.classes),
    ]
    thumbnails = _thumbnails(clip_set, usable, rng) if looks and most_looked_at else ()
    return Overview(
        tuple(each for each in distributions if each is not None),
        len(looks),
        thumbnails,
        max(0, len(clip_set.classes) - _MOST_CLASSES) if thumbnails else 0,
        *(_shown_pairs(clip_set, contents) if contents is not None else ((), 0)),
    )


def _shown_pairs(clip_set: ClipSet, contents: Contents) -> tuple[tuple[ShownPair, ...], int]:
    pairs = copy_pairs(clip_set.clips, contents)
    shown = tuple(
        ShownPair(_shown(clip_set, pair.first), _shown(clip_set, pair.second), pair.likeness)
        for pair in pairs[:_MOST_PAIRS]
    )
    return shown, len(pairs) - len(shown)


def _shown(clip_set: ClipSet, clip: Clip) -> ShownClip:
    return ShownClip(clip.clip_id, str(clip.split), ", ".join(clip.labels), _picture(clip_set, clip))


def _distribution(
    name: str, unit: str, clips: Sequence[Clip], values: Sequence[float], classes: Sequence[str]
) -> Distribution | None:
    if not len(values):
        return None
    numbers = np.array(values, dtype=np.float64)
    distinct = np.unique(numbers.round(2))
    if len(distinct) <= _FEW_VALUES:
        counts = [int((numbers.round(2) == value).sum()) for value in distinct]
        names = [f"{value:g}" for value in distinct]
    else:
        low, high = np.quantile(numbers, [_TAIL, 1 - _TAIL])
        edges = np.linspace(low, max(high, low + 1e-9), _BINS + 1)
        counts = np.histogram(np.clip(numbers, edges[0], edges[-1]), edges)[0].tolist()
        names = [f"{start:.3g} to {end:.3g}" for start, end in itertools.pairwise(edges)]
    of_class: dict[str, list[int]] = {}
    for place, clip in enumerate(clips):
        for label in clip.labels:
            of_class.setdefault(label, []).append(place)
    medians = [(label, float(np.median(numbers[of_class[label]]))) for label in classes if label in of_class]
    most = max(counts)
    bars = tuple((what, count, count / most) for what, count in zip(names, counts, strict=True))
    return Distribution(name, unit, bars, float(np.median(numbers)), tuple(medians))


def _thumbnails(clip_set: ClipSet, usable: Sequence[Clip], rng: np.random.Generator) -> tuple[Thumbnails, ...]:
    shown: list[Thumbnails] = []
    for label in clip_set.classes[:_MOST_CLASSES]:
        by_split: list[tuple[str, tuple[tuple[str, bytes], ...]]] = []
        for split in Split:
            clips = [clip for clip in usable if label in clip.labels and clip.split is split]
            if pictures := _pictures(clip_set, clips, rng):
                by_split.append((split.value, pictures))
        if by_split:
            shown.append(Thumbnails(label, tuple(by_split)))
    if pictures := _pictures(clip_set, [clip for clip in usable if clip.label is None], rng):
        shown.append(Thumbnails("without a label", ((Split.UNLABELLED.value, pictures),)))
    return tuple(shown)


def _pictures(clip_set: ClipSet, clips: Sequence[Clip], rng: np.random.Generator) -> tuple[tuple[str, bytes], ...]:
    chosen = [clips[place] for place in rng.permutation(len(clips))[:_EACH]]
    read = [(clip.clip_id, _picture(clip_set, clip)) for clip in chosen]
    return tuple((clip_id, picture) for clip_id, picture in read if picture is not None)


def _picture(clip_set: ClipSet, clip: Clip) -> bytes | None:
    """The frame in the middle as a JPEG; None where it cannot be read."""
    import cv2

    width = min(_MOST_WIDTH_PX, max(1, round(clip.width * _HEIGHT_PX / clip.height)))
    try:
        frame = read_frames(clip_set.locate(clip), [clip.frames // 2], size=(width, _HEIGHT_PX))[0]
    except (KineflowError, OSError):
        return None
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(frame[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return data.tobytes() if done else None
