"""Look at one clip: eight small frames of it, pairs of frames for motion, and whatever its file does is a remark."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from kineflow.data.fingerprint import MAX_SIDE, Fingerprint
from kineflow.data.layouts.rows import ListedClip
from kineflow.data.source import Source
from kineflow.storage.errors import KineflowError
from kineflow.storage.media import Media, is_remote, locate
from kineflow.storage.ranges import StorageError
from kineflow.survey.facts import Header, Look
from kineflow.survey.glimpse import Wish, glimpse

FRAMES = 8
SMALL_PX = 64
PAIRS = 3
_JPEG_QUALITY = 75
_SECONDS_WHEN_UNKNOWN = 2.0
_USUAL_FPS = 25.0
_ENDS_EARLY = 0.75  # of the length that is stated
_ONE_COLOUR = 2.0
_STILL = 0.05


@dataclass(frozen=True)
class LookTask:
    """One clip to look at.

    Attributes:
        number: Its place among all.
        name: Of its video in the source.
        listed: Its row, which may mean a part of the film.
        pair_fps: Take pairs of frames for motion, this rate apart; 0: none.
        pair_px: Shorter side of those frames.
        picture: Whether to keep a picture.
    """

    number: int
    name: str
    listed: ListedClip
    pair_fps: float = 0.0
    pair_px: int = SMALL_PX
    picture: bool = True


def tasks_of(
    clips: Sequence[ListedClip], *, sample: frozenset[int], pair_fps: float, pair_px: int, most_pictures: int = 20_000
) -> list[LookTask]:
    """A task for every clip; those of ``sample`` give pairs of frames for motion."""
    return [
        LookTask(
            number,
            clip.source,
            clip,
            pair_fps if number in sample else 0.0,
            pair_px,
            picture=number in sample or number < most_pictures,
        )
        for number, clip in enumerate(clips)
    ]


def read_headers(clips: Sequence[ListedClip], source: Source) -> list[Header]:
    """What the files of some clips say of themselves, without those that cannot be opened; no frame is decoded."""
    headers = []
    for clip in clips:
        try:
            with _media(source, clip.source) as path:
                headers.append(glimpse(path, lambda _: ())[0])
        except StorageError:
            raise
        except (KineflowError, OSError, ValueError):
            continue
    return headers


def look_at(task: LookTask, source: Source) -> Look:
    """Look at one clip; what is wrong with it is its ``problem``.

    Raises:
        StorageError: S3 does not answer.
    """
    try:
        with _media(source, task.name) as path:
            header, frames, last_sec = glimpse(path, lambda header: _wishes(task, header))
    except StorageError:
        raise
    except KineflowError as error:
        return Look(problem=error.problem)
    except Exception as error:  # whatever a file makes a decoder do, other clips are looked at
        return Look(problem=f"{type(error).__name__}: {error}"[:200])
    file_sec, (first, seconds) = header.seconds, _part_of(task, header)
    header = dataclasses.replace(header, seconds=seconds)
    return dataclasses.replace(_seen(task, header, frames, last_sec - first), file_sec=file_sec)


def _part_of(task: LookTask, header: Header) -> tuple[float, float]:
    """Beginning and length in seconds; a length that nobody states is 0."""
    listed = _about_in_seconds(task.listed, header.fps or _USUAL_FPS)
    first = listed.start_sec or 0.0
    if header.seconds:
        stop = min(listed.end_sec or header.seconds, header.seconds)
        return (first, stop - first) if stop > first else (0.0, header.seconds)
    return first, (listed.end_sec or first) - first


def _about_in_seconds(listed: ListedClip, fps: float) -> ListedClip:
    """Where to look for a part that is told in numbers of frames: at its mean rate, which is near enough for a look.

    Ingest counts the frames themselves, and ``clips.csv`` has their numbers.
    """
    if listed.start_frame is None and listed.end_frame is None:
        return listed
    start, end = (None if number is None else number / fps for number in (listed.start_frame, listed.end_frame))
    return dataclasses.replace(listed, start_sec=start, end_sec=end)


def _wishes(task: LookTask, header: Header) -> list[Wish]:
    first, seconds = _part_of(task, header)
    seconds = seconds or _SECONDS_WHEN_UNKNOWN
    wishes = [Wish(first + seconds * (n + 0.5) / FRAMES, SMALL_PX) for n in range(FRAMES)]
    step = 1 / task.pair_fps if task.pair_fps else 0.0
    if step and seconds > 2 * step:
        for n in range(PAIRS):
            at = first + (seconds - step) * (n + 0.5) / PAIRS
            wishes += [Wish(at, task.pair_px, grey=True), Wish(at + step, task.pair_px, grey=True)]
    return wishes


def _seen(task: LookTask, header: Header, frames: Sequence[tuple[Wish, np.ndarray]], last_sec: float) -> Look:
    small = [frame for wish, frame in frames if not wish.grey]
    if not small:
        return Look(header, problem="no frame could be decoded")
    size = small[0].shape
    small = [frame for frame in small if frame.shape == size]  # a film may change its size
    stack = np.stack(small)
    grey = stack.mean(axis=-1, dtype=np.float32)
    change = float(np.abs(np.diff(grey, axis=0)).mean()) if len(grey) > 1 else 0.0
    contrast = float(grey.std(axis=(1, 2)).mean())
    return Look(
        header=header,
        remark=_oddity(header, last_sec, contrast, change),
        brightness=float(grey.mean()),
        contrast=contrast,
        change=change,
        fingerprint=_fingerprint(stack),
        picture=_jpeg(stack[len(stack) // 2]) if task.picture else b"",
        pairs=_pairs([frame for wish, frame in frames if wish.grey]),
    )


def _oddity(header: Header, last_sec: float, contrast: float, change: float) -> str:
    remarks = []
    if not header.fps:
        remarks.append("states no frame rate that can be")
    if not header.seconds:
        remarks.append("states no length")
    elif last_sec < _ENDS_EARLY * header.seconds * (1 - 0.5 / FRAMES):
        remarks.append(f"ends after about {last_sec:.1f} s, and states {header.seconds:.1f} s")
    if contrast < _ONE_COLOUR:
        remarks.append("pictures of one colour")
    elif change < _STILL:
        remarks.append("nothing moves")
    return "; ".join(remarks)


def _pairs(frames: Sequence[np.ndarray]) -> np.ndarray:
    """uint8 [P, 2, H, W]; without a frame that has lost its partner, or changed its size."""
    pairs = [(a, b) for a, b in zip(frames[::2], frames[1::2], strict=False) if a.shape == b.shape == frames[0].shape]
    return np.array(pairs, dtype=np.uint8) if pairs else np.empty((0, 2, 1, 1), np.uint8)


def _fingerprint(frames: np.ndarray) -> Fingerprint:
    """Of frames uint8 [T, H, W, 3] whose shorter side is small already."""
    height, width = frames.shape[1:3]
    scale = MAX_SIDE / max(height, width, MAX_SIDE)
    size = (max(2, round(width * scale)), max(2, round(height * scale)))
    return Fingerprint.of(np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]))


def _jpeg(picture: np.ndarray) -> bytes:
    done, data = cv2.imencode(
        ".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )
    return data.tobytes() if done else b""


@contextmanager
def _media(source: Source, name: str) -> Iterator[Media]:
    """A video where it lies: an object on S3 is read by range, a local file is checked for where it leads."""
    if is_remote(source.root):
        yield locate(source.root, name)
    else:
        with source.fetch(name) as path:
            yield path


def sampled(numbers: Sequence[int], count: int, *, seed: int) -> frozenset[int]:
    """Up to ``count`` of some numbers, drawn by a seed."""
    generator: Any = np.random.default_rng(seed)
    return frozenset(int(n) for n in generator.permutation(np.asarray(numbers, dtype=np.int64))[:count])
