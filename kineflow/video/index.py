"""What a video file really holds, found by decoding all of it once.

The header's word is not taken: HMDB51's AVI files count one frame too many, a file cut in half still states its full
length, and a damaged one may decode in silence with frames missing.
"""

from __future__ import annotations

import itertools
import math
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kineflow.spec.status import Status
from kineflow.spec.video_bounds import MAX_FILE_FRAMES, MAX_PIXELS
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of
from kineflow.video.framing.avi import empty_avi_chunks
from kineflow.video.framing.fault import fault_of
from kineflow.video.geometry import Turn, pixel_aspect, turn_of
from kineflow.video.opening import open_video, packets_of
from kineflow.video.timeline import Timeline, is_steady, mended, packed

_FPS_WHEN_UNKNOWN = 25.0
_FASTEST_FPS = 10_000.0  # what is above is a unit of time that was taken for a rate
_RATE_TOLERANCE = 0.05
_DURATION_TOLERANCE = 0.02
# Codecs of which every packet is a frame that is shown; of others some are none by right (packed B-frames of MPEG-4,
# hidden frames of VP8).
_A_FRAME_EACH = ("h264", "hevc", "vp9", "av1", "mjpeg", "flv", "wmv1", "wmv2", "mpeg1video", "mpeg2video")
_HIDDEN_SEC = 0.5  # by which other streams of an mp4 may last longer than its film
_LEAST_BYTES = 8  # of a frame in an AVI
_DELAY_FRAMES = 2.5  # a decoder that reorders may give the first frame a later stamp than it has


@dataclass(frozen=True)
class VideoIndex:
    """The facts of one video file.

    Attributes:
        frames: Count of frames decoded.
        fps: Frame rate: the header's where every frame is shown when that says; else the mean of the time stamps; 25
            if both are silent.
        width, height: In pixels, as coded; ``rotation`` and ``pixel_aspect`` not applied.
        rotation: Degrees counter-clockwise by which the picture is to be turned for display: 0, 90, 180 or 270.
        sha256: Of the file's bytes, hex; empty when there is no file.
        status: ``ok``, ``short`` (fewer than ``min_frames``), ``truncated`` or ``unreadable``.
        reason: Why the status is not ``ok``; empty otherwise.
        codec: FFmpeg's name of it (``h264``, ``mpeg4``, …); empty when unreadable, as the next two.
        pixel_format: FFmpeg's name of it (``yuv420p``, …).
        container: FFmpeg's names of it, separated by commas.
        max_gop: Most frames from one key frame to the next (or to the end); 0 when unreadable.
        mirrored: Left and right are to be exchanged before the picture is turned.
        pixel_aspect: Width of a pixel over its height, see :func:`kineflow.video.geometry.pixel_aspect`.
        stream: Which of the picture streams the film is, from 0.
        first_sec: Time of the first frame, see :class:`kineflow.video.timeline.Timeline`.
        stamps: Times of all frames where their rate varies, see there.
    """

    frames: int
    fps: float
    width: int
    height: int
    rotation: int
    sha256: str
    status: Status
    reason: str
    codec: str
    pixel_format: str
    container: str
    max_gop: int
    mirrored: bool = False
    pixel_aspect: float = 1.0
    stream: int = 0
    first_sec: float = 0.0
    stamps: str = ""

    @property
    def turn(self) -> Turn:
        """What is to be done with its pictures."""
        return Turn(self.rotation, self.mirrored)

    @property
    def timeline(self) -> Timeline:
        """When its frames are shown."""
        return Timeline(self.frames, self.fps, self.first_sec, self.stamps)


def index_video(
    path: Path,
    *,
    min_frames: int = 1,
    max_frames: int = MAX_FILE_FRAMES,
    max_pixels: int = MAX_PIXELS,
    sha256: str = "",
) -> VideoIndex:
    """Decode a whole video once and report what it holds. A bad file is a status, never an exception.

    Args:
        path: Of the file.
        min_frames: A video with fewer frames is ``short``.
        max_frames: A video with more frames is ``unreadable``; decoding stops there.
        max_pixels: A video with larger pictures is ``unreadable``.
        sha256: Of the file's bytes, hex, where it is known.
    """
    if not path.is_file():
        return _index(_Counts(), sha256="", status=Status.UNREADABLE, reason="no such file")
    counts = _Counts()
    try:
        with open_video(path, max_pixels=max_pixels) as (container, stream):
            counts.read_header(container, stream)
            for packet in packets_of(container, stream):
                counts.add_packet(packet)
                for frame in packet.decode():
                    counts.add_frame(frame)
                if counts.frames > max_frames:
                    counts.problem = f"more than {max_frames} frames"
                    break
    except KineflowError as error:
        counts.problem = error.problem

    status, reason = _judge(counts, path, min_frames, max_frames)
    return _index(counts, sha256=sha256 or sha256_of(path), status=status, reason=reason)


@dataclass
class _Counts:
    """What decoding shows, added up packet by packet."""

    codec: str = ""
    pixel_format: str = ""
    container: str = ""
    stream: int = 0
    stream_index: int = 0
    stream_id: int = 0
    pixel_aspect: float = 1.0
    header_frames: int = 0
    header_fps: float = 0.0
    header_sec: float = 0.0
    starts_sec: float = 0.0
    late_sec: float = 0.0
    stated_sec: float = 0.0
    packets: int = 0
    hidden: int = 0
    corrupt: int = 0
    from_sec: float = math.inf
    until_sec: float = -math.inf
    frames: int = 0
    size: tuple[int, int] = (0, 0)
    turn: Turn = field(default_factory=Turn)
    times_sec: array[float] = field(default_factory=lambda: array("d"))
    keys: array[int] = field(default_factory=lambda: array("q"))
    due: array[int] = field(default_factory=lambda: array("q"))  # stamps of packets that are a frame each
    frame_stamps: array[int] = field(default_factory=lambda: array("q"))
    first_pts: int | None = None
    interlaced: bool = False
    problem: str = ""

    def read_header(self, container: Any, stream: Any) -> None:
        self.codec = stream.codec_context.name
        self.pixel_format = stream.codec_context.pix_fmt or ""
        self.container = container.format.name
        self.stream = container.streams.video.index(stream)
        self.stream_index, self.stream_id = stream.index, stream.id
        self.pixel_aspect = pixel_aspect(stream)
        self.header_frames = stream.frames
        rate = float(stream.average_rate or 0)
        self.header_fps = rate if rate <= _FASTEST_FPS else 0.0
        self.header_sec = float((stream.duration or 0) * stream.time_base)
        self.stated_sec = (container.duration or 0) / 1e6
        if stream.start_time is not None:
            self.starts_sec = float(stream.start_time * stream.time_base)
            if container.start_time is not None:  # in microseconds
                self.late_sec = max(0.0, self.starts_sec - container.start_time / 1e6)

    def add_packet(self, packet: Any) -> None:
        if packet.size:
            self.packets += 1
            self.corrupt += packet.is_corrupt
            self.hidden += packet.is_discard
            if packet.pts is not None and not packet.is_discard and self.codec in _A_FRAME_EACH:
                self.due.append(packet.pts)
        if packet.size and packet.pts is not None:
            start_sec = float(packet.pts * packet.time_base)
            self.from_sec = min(self.from_sec, start_sec)
            self.until_sec = max(self.until_sec, start_sec + float((packet.duration or 0) * packet.time_base))

    def add_frame(self, frame: Any) -> None:
        if not self.frames:
            self.size, self.turn = (frame.width, frame.height), turn_of(frame)
            self.first_pts = frame.pts
        self.interlaced |= frame.interlaced_frame  # two packets may then be one frame
        if frame.pts is not None and self.due:
            self.frame_stamps.append(frame.pts)
        if frame.key_frame:
            self.keys.append(self.frames)
        stamp = frame.pts if frame.pts is not None else frame.dts
        self.times_sec.append(math.nan if stamp is None else float(stamp * frame.time_base))
        self.corrupt += frame.is_corrupt
        self.frames += 1

    @property
    def given_up(self) -> int:
        """How many packets, from the first frame on, the decoder took in and gave no frame for."""
        if self.interlaced or self.first_pts is None:
            return 0
        lost = np.setdiff1d(np.asarray(self.due), np.asarray(self.frame_stamps))
        return int((lost > self.first_pts).sum())

    def timeline(self) -> Timeline:
        """From the stamps; where they say what a constant rate says, that rate alone."""
        usual = self.header_fps or _FPS_WHEN_UNKNOWN
        times = mended(self.times_sec, 1 / usual)
        lasted = float(times[-1] - times[0]) if len(times) else 0.0
        measured = (self.frames - 1) / lasted if lasted > 0 else 0.0
        if not 0 < measured <= _FASTEST_FPS:
            return Timeline(self.frames, usual, self.late_sec)
        near = abs(measured - self.header_fps) <= _RATE_TOLERANCE * self.header_fps
        fps = self.header_fps if self.header_fps and near else measured
        delay = float(times[0]) - self.starts_sec
        first_sec = self.late_sec + (delay if delay > _DELAY_FRAMES / fps else 0.0)
        if is_steady(times, fps):
            return Timeline(self.frames, fps, first_sec)
        return Timeline(self.frames, measured, first_sec, packed(times))

    @property
    def max_gop(self) -> int:
        starts = [*self.keys, self.frames]
        return max((later - key for key, later in itertools.pairwise(starts)), default=self.frames)


def _judge(counts: _Counts, path: Path, min_frames: int, max_frames: int) -> tuple[Status, str]:
    if not counts.frames or counts.frames > max_frames:
        return Status.UNREADABLE, counts.problem or "no frame could be decoded"
    if counts.problem:
        return Status.TRUNCATED, f"breaks off after {counts.frames} frames: {counts.problem}"
    if missing := _missing(counts, path):
        return Status.TRUNCATED, missing
    if counts.corrupt:
        return Status.TRUNCATED, f"damaged: {counts.corrupt} corrupt packets or frames"
    if lost := counts.given_up:
        return Status.TRUNCATED, f"damaged: {lost} frames cannot be decoded"
    if fault := fault_of(path, counts.container, counts.stream_id):
        return Status.TRUNCATED, fault
    if counts.frames < min_frames:
        return Status.SHORT, f"{counts.frames} frames, fewer than {min_frames}"
    return Status.OK, ""


def _missing(counts: _Counts, path: Path) -> str:
    """What the header promised and the file has not; empty when nothing is missing."""
    if "mp4" not in counts.container.split(","):
        # Packets are compared, not frames: packed B-frames leave packets that hold no frame.
        have = counts.packets
        if counts.header_frames > path.stat().st_size / _LEAST_BYTES:  # filled in at the end, where a file allows that
            return ""
        if have < counts.header_frames and counts.container == "avi":
            have += empty_avi_chunks(path, counts.stream_index)
        if have >= counts.header_frames:
            return ""
        return f"{have} of the {counts.header_frames} frames of its header are there"
    # The count of an mp4 may rightly hold samples that its edit list leaves out; its duration does not.
    timeline = counts.timeline()
    # FFmpeg gives what is hidden from the key frame before it on, and the rest not at all.
    hides_most = counts.hidden and counts.header_frames - counts.packets + counts.hidden > counts.frames
    if hides_most and timeline.seconds * (1 + _DURATION_TOLERANCE) + _HIDDEN_SEC < counts.stated_sec:
        return f"its edit list shows {timeline.seconds:.2f} of {counts.stated_sec:.2f} s"
    there_sec = counts.until_sec - counts.from_sec
    if there_sec * (1 + _DURATION_TOLERANCE) + 2 / timeline.fps >= counts.header_sec:
        return ""
    return f"{there_sec:.2f} of the {counts.header_sec:.2f} s of its header are there"


def _index(counts: _Counts, *, sha256: str, status: Status, reason: str) -> VideoIndex:
    timeline = counts.timeline() if counts.frames else Timeline(0, 0.0)
    return VideoIndex(
        frames=counts.frames,
        fps=timeline.fps,
        width=counts.size[0],
        height=counts.size[1],
        rotation=counts.turn.rotation,
        sha256=sha256,
        status=status,
        reason=reason,
        codec=counts.codec,
        pixel_format=counts.pixel_format,
        container=counts.container,
        max_gop=counts.max_gop,
        mirrored=counts.turn.mirrored,
        pixel_aspect=counts.pixel_aspect,
        stream=counts.stream,
        first_sec=timeline.first_sec,
        stamps=timeline.stamps,
    )
