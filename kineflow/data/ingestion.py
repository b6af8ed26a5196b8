"""From listed clips to stored ones: every video is fetched, decoded, judged and stored; a broken one stays a row.

One pass over a video judges it, and a second one stores all its parts.

What decoding a video has shown and every stored clip are kept under names made from content (the sha256 of the source,
the part taken, the stored form), so nothing is decoded or encoded twice: not by an interrupted run that starts again,
and not for a row whose label or path has changed.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from kineflow.data.layouts.rows import ListedClip
from kineflow.data.source import Source
from kineflow.sets.clip_set import Clip
from kineflow.sets.media import CLIPS, INDEX, media_path
from kineflow.spec.formats import CLIP_FORMAT, INDEX_FORMAT, KEY_DIGITS
from kineflow.spec.status import Status
from kineflow.spec.video_bounds import MAX_FRAMES
from kineflow.storage.disk import is_full_disk
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file, sha256_of
from kineflow.storage.media import is_remote, locate
from kineflow.storage.progress import track
from kineflow.storage.ranges import StorageError
from kineflow.storage.safe_json import parse_json
from kineflow.storage.stores import MediaStore
from kineflow.video.decode import PartReader
from kineflow.video.index import VideoIndex, index_video
from kineflow.video.resample import Span, span_at
from kineflow.video.store import (
    STORED_SUFFIX,
    Part,
    StoredForm,
    fps_of,
    part_of,
    peculiarities,
    store_video,
    stored_fps,
    stored_size,
)

_SPARE_SEC = 1.0
_MOST_INDEX_BYTES = 2**26  # the time stamps of 5 million frames are 26 MB


@dataclass(frozen=True)
class Ingestion:
    """What is to be done with every video.

    Attributes:
        source: Where the videos are.
        store: Where stored clips are kept, and what is known of their sources.
        form: How videos are stored.
        min_frames: A clip with fewer frames is rejected as ``short``.
        max_frames: A clip with more frames is rejected; the file that it is a part of may have more.
    """

    source: Source
    store: MediaStore
    form: StoredForm
    min_frames: int
    max_frames: int = MAX_FRAMES
    _locks: dict[str, threading.Lock] = field(default_factory=dict, repr=False)

    def one_at_a_time(self, path: str) -> threading.Lock:
        """Held while ``place`` is looked for and written: two videos of the same bytes are one file."""
        return self._locks.setdefault(path, threading.Lock())


def ingest_clips(rows: Sequence[tuple[str, ListedClip]], ingestion: Ingestion, *, workers: int) -> list[Clip]:
    """Ingest listed clips, ``workers`` videos at a time.

    Decoding and encoding run outside the interpreter's lock, so the workers are threads. When one fails, or the user
    interrupts, the others stop after the video they are at; what is finished stays in the store.

    Args:
        rows: Each with its id, see :func:`kineflow.data.clip_ids.clip_ids`.
        ingestion: What to do with each.
        workers: How many videos at a time.

    Returns:
        One row a listed clip, in the same order.

    Raises:
        KineflowError: A download or an upload failed repeatedly, or the disk is full. What is wrong with one video is
            the reason of its rows.
    """
    by_video: dict[str, list[int]] = {}
    for number, (_, clip) in enumerate(rows):
        by_video.setdefault(clip.source, []).append(number)

    def ingest_video(name: str) -> list[tuple[int, Clip]]:
        its = [rows[number] for number in by_video[name]]
        reason = ": ".join(filter(None, (ingestion.source.trouble(name), its[0][1].missing)))
        ingested = _missing(its, reason=reason) if reason else _ingest_video(name, its, ingestion)
        return list(zip(by_video[name], ingested, strict=True))

    clip_of: dict[int, Clip] = {}
    with ThreadPoolExecutor(workers, thread_name_prefix="ingest") as pool:
        try:
            jobs = [pool.submit(ingest_video, name) for name in by_video]
            for job in track(as_completed(jobs), total=len(jobs), what="ingest", unit="video"):
                clip_of.update(job.result())
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return [clip_of[number] for number in range(len(rows))]


def _ingest_video(name: str, rows: Sequence[tuple[str, ListedClip]], ingestion: Ingestion) -> list[Clip]:
    """All clips of one video, which is fetched once, and decoded where nobody has before."""
    with ExitStack() as stack:
        try:
            path = stack.enter_context(ingestion.source.fetch(name))
            sha256 = sha256_of(path)
        except (KineflowError, OSError) as error:
            if _ends_the_run(error) or is_remote(ingestion.source.root):
                raise
            return _missing(rows, reason=_in_words(error))
        index = _index_once(path, sha256, ingestion)
        reader = stack.enter_context(PartReader(path))
        firsts = [_listed_part(index, listed).first if index.status is Status.OK else 0 for _, listed in rows]
        clips: dict[int, Clip] = {}
        for row in sorted(range(len(rows)), key=firsts.__getitem__):  # so that the parts take one pass
            clips[row] = _ingest_clip(reader, index, *rows[row], ingestion)
        return [clips[row] for row in range(len(rows))]


def _ends_the_run(error: BaseException) -> bool:
    """Whether other videos would meet the same: the disk is full, or S3 does not answer."""
    full = is_full_disk(error) or getattr(error, "exit_code", None) == errno.ENOSPC
    return full or isinstance(error, StorageError)


def _in_words(error: KineflowError | OSError) -> str:
    """What is wrong, without the place: rows name their video."""
    return error.problem if isinstance(error, KineflowError) else error.strerror or str(error)


def _index_once(path: Path, sha256: str, ingestion: Ingestion) -> VideoIndex:
    store = ingestion.store
    stored_path = media_path(INDEX, sha256, f".v{INDEX_FORMAT}.json")
    with ingestion.one_at_a_time(stored_path):
        if store.has(stored_path):
            with (
                suppress(ValueError, TypeError, KeyError),  # damaged: it is made again
                locate(store.root, stored_path).open("rb") as stream,
            ):
                values = parse_json(stream.read(_MOST_INDEX_BYTES))
                return VideoIndex(**{**values, "status": Status(values["status"])})
        index = index_video(path, sha256=sha256)
        with atomic_file(store.work_path(stored_path)) as partial:
            partial.write_text(json.dumps(dataclasses.asdict(index)))
        store.publish(stored_path)
        return index


def _ingest_clip(reader: PartReader, index: VideoIndex, clip_id: str, listed: ListedClip, ingestion: Ingestion) -> Clip:
    status, reason, part = index.status, index.reason, Part(0, index.frames)
    width, height = (index.width, index.height)
    span, form = Span(0, index.frames), ingestion.form
    if status is Status.OK:
        part = _listed_part(index, listed)
        width, height = stored_size(index, form)
        span = _span(index, part, form)
        status, reason = _judge(span, width, height, listed, ingestion)
        if status is Status.OK and (is_part := _one_of_its_parts(index, listed)):
            status, reason = Status.SHORT, is_part
    whole = part == Part(0, index.frames)
    sha256 = index.sha256 if whole else hashlib.sha256(f"{index.sha256}:{part.first}:{part.stop}".encode()).hexdigest()
    stored_path = ""
    if status is Status.OK:
        form = form.of(index, part)
        key = stored_key(sha256, form, **peculiarities(index, part, form))
        stored_path = media_path(CLIPS, key, STORED_SUFFIX)
        if fault := _store_once(reader, index, part, stored_path, ingestion):
            stored_path, status, reason = "", Status.UNREADABLE, fault
            width, height = index.width, index.height
    return Clip(
        clip_id=clip_id,
        path=stored_path,
        label=listed.label,
        group=listed.group,
        split=listed.split,
        frames=span.frames if stored_path else part.frames,
        fps=stored_fps(index, part, form) if stored_path else fps_of(index, part),
        width=width,
        height=height,
        rotation=0 if stored_path else index.rotation,
        sha256=sha256,
        status=status,
        reason=reason,
        source=listed.source,
        video_sha256="" if whole else index.sha256,
        first_frame=span.first if stored_path else part.first,
        also=listed.also,
    )


def _listed_part(index: VideoIndex, listed: ListedClip) -> Part:
    """The part of a video that a row means, cut off at the video's end."""
    if listed.start_frame is None and listed.end_frame is None:
        return part_of(index, listed.start_sec, listed.end_sec, may_be_cut=listed.may_be_cut)
    first = min(listed.start_frame or 0, index.frames)
    stop = index.frames if listed.end_frame is None else min(listed.end_frame, index.frames)
    return Part(first, max(first, stop))


def _span(index: VideoIndex, part: Part, form: StoredForm) -> Span:
    """The frames of a part, of the video at the rate that is asked for."""
    if not form.fps or not part.frames:
        return Span(part.first, part.stop)
    return span_at(index.timeline, part.first, part.stop, form.fps)


def _store_once(reader: PartReader, index: VideoIndex, part: Part, stored_path: str, ingestion: Ingestion) -> str:
    """Store a part where nobody has before; why it cannot be, or nothing."""
    store = ingestion.store
    with ingestion.one_at_a_time(stored_path):
        if store.has(stored_path):
            return ""
        try:
            store_video(reader, store.work_path(stored_path), index=index, part=part, form=ingestion.form)
        except KineflowError as error:  # what the store itself fails with is an OSError, and ends the run
            if _ends_the_run(error):
                raise
            return _in_words(error)
        store.publish(stored_path)
    return ""


def stored_key(sha256: str, form: StoredForm, **peculiarities: object) -> str:
    """Digest of all that a stored clip depends on.

    Args:
        sha256: That of :class:`~kineflow.sets.clip_set.Clip`.
        form: The stored form.
        peculiarities: See :func:`kineflow.video.store.peculiarities`.
    """
    plain = dataclasses.asdict(form)
    if not form.fps:  # clips that were stored before there were rates keep their names
        del plain["fps"]
    if not form.size:  # or one size
        del plain["size"]
    encoded = json.dumps([CLIP_FORMAT, plain, sha256, *filter(None, [peculiarities])], sort_keys=True)
    return hashlib.sha256(encoded.encode()).hexdigest()[:KEY_DIGITS]


def _judge(span: Span, width: int, height: int, listed: ListedClip, ingestion: Ingestion) -> tuple[Status, str]:
    taken = "" if all(bound is None for bound in listed.part) else " in the part that is listed"
    if width < 2 or height < 2:
        return Status.UNREADABLE, "the picture is smaller than 2x2 pixels"
    if ingestion.form.fps:
        taken = f" at {ingestion.form.fps:g} a second{taken}"
    if span.frames < ingestion.min_frames:
        return Status.SHORT, f"{span.frames} frames{taken}, fewer than {ingestion.min_frames}"
    if span.frames > ingestion.max_frames:
        most = f"more than 'max_frames' ({ingestion.max_frames}) allows: list parts of it, or raise that"
        return Status.UNREADABLE, f"{span.frames} frames{taken}, {most}"
    return Status.OK, ""


def _one_of_its_parts(index: VideoIndex, listed: ListedClip) -> str:
    """That a file is too short to be the video that parts are listed of; empty where it is not."""
    lasts_sec = index.timeline.seconds
    if listed.whole_sec is None or lasts_sec >= listed.whole_sec - _SPARE_SEC:
        return ""
    return f"lasts {lasts_sec:.1f} s, but parts up to {listed.whole_sec:g} s are listed: which one it is, nobody knows"


def _missing(
    rows: Sequence[tuple[str, ListedClip]],
    *,
    reason: str,
) -> list[Clip]:
    """Rows of a video of which nothing is known but what is wrong with it."""
    return [
        Clip(
            clip_id=clip_id,
            path="",
            label=listed.label,
            group=listed.group,
            split=listed.split,
            frames=0,
            fps=0.0,
            width=0,
            height=0,
            rotation=0,
            sha256="",
            status=Status.UNREADABLE,
            reason=reason,
            source=listed.source,
            also=listed.also,
        )
        for clip_id, listed in rows
    ]
