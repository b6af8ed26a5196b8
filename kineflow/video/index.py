"""What a video file really holds, found by decoding all of it once.

The header's word is not taken: HMDB51's AVI files count one frame too many, a file cut in half still states its full
length, and a damaged one may decode in silence with frames missing.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of
from kineflow.video.decode import MAX_FRAMES, MAX_PIXELS, open_video

_FPS_WHEN_UNKNOWN = 25.0
_RATE_TOLERANCE = 0.05
_DURATION_TOLERANCE = 0.02


@dataclass(frozen=True)
class VideoIndex:
    """The facts of one video file.

    Attributes:
        frames: Count of frames decoded.
        fps: Mean frame rate: the header's, unless the time stamps differ from it by more than 5 %; 25 if both are
            silent.
        width, height: In pixels, as decoded; ``rotation`` not applied.
        rotation: Degrees counter-clockwise by which the picture is to be turned for display, in [0, 360).
        sha256: Of the file's bytes, hex; empty when there is no file.
        status: ``ok``, ``short`` (fewer than ``min_frames``), ``truncated`` or ``unreadable``.
        reason: Why the status is not ``ok``; empty otherwise.
        codec: FFmpeg's name of it (``h264``, ``mpeg4``, …); empty when unreadable, as the next two.
        pixel_format: FFmpeg's name of it (``yuv420p``, …).
        container: FFmpeg's names of it, separated by commas.
        max_gop: Most frames from one key frame to the next (or to the end); 0 when unreadable.
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


def index_video(
    path: Path, *, min_frames: int = 1, max_frames: int = MAX_FRAMES, max_pixels: int = MAX_PIXELS
) -> VideoIndex:
    """Decode a whole video once and report what it holds. A bad file is a status, never an exception.

    Args:
        path: Of the file.
        min_frames: A video with fewer frames is ``short``.
        max_frames: A video with more frames is ``unreadable``; decoding stops there.
        max_pixels: A video with larger pictures is ``unreadable``.
    """
    if not path.is_file():
        return _index(_Counts(), sha256="", status=Status.UNREADABLE, reason="no such file")
    counts = _Counts()
    try:
        with open_video(path, max_pixels=max_pixels) as (container, stream):
            counts.read_header(container, stream)
            for packet in container.demux(stream):
                counts.add_packet(packet)
                for frame in packet.decode():
                    counts.add_frame(frame)
                if counts.frames > max_frames:
                    counts.problem = f"more than {max_frames} frames"
                    break
    except KineflowError as error:
        counts.problem = error.problem

    status, reason = _judge(counts, min_frames, max_frames)
    return _index(counts, sha256=sha256_of(path), status=status, reason=reason)


@dataclass
class _Counts:
    """What decoding shows, added up packet by packet."""

    codec: str = ""
    pixel_format: str = ""
    container: str = ""
    header_frames: int = 0
    header_fps: float = 0.0
    header_sec: float = 0.0
    packets: int = 0
    corrupt: int = 0
    from_sec: float = math.inf
    until_sec: float = -math.inf
    frames: int = 0
    size: tuple[int, int] = (0, 0)
    rotation: int = 0
    times_sec: list[float] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    problem: str = ""

    def read_header(self, container: Any, stream: Any) -> None:
        self.codec = stream.codec_context.name
        self.pixel_format = stream.codec_context.pix_fmt or ""
        self.container = container.format.name
        self.header_frames = stream.frames
        self.header_fps = float(stream.average_rate or 0)
        self.header_sec = float((stream.duration or 0) * stream.time_base)

    def add_packet(self, packet: Any) -> None:
        if packet.size:
            self.packets += 1
            self.corrupt += packet.is_corrupt
        if packet.size and packet.pts is not None:
            start_sec = float(packet.pts * packet.time_base)
            self.from_sec = min(self.from_sec, start_sec)
            self.until_sec = max(self.until_sec, start_sec + float((packet.duration or 0) * packet.time_base))

    def add_frame(self, frame: Any) -> None:
        if not self.frames:
            self.size, self.rotation = (frame.width, frame.height), round(frame.rotation) % 360
        if frame.key_frame:
            self.keys.append(self.frames)
        if frame.time is not None:
            self.times_sec = [*self.times_sec[:1], frame.time]
        self.corrupt += frame.is_corrupt
        self.frames += 1

    @property
    def fps(self) -> float:
        lasted = self.times_sec[-1] - self.times_sec[0] if self.times_sec else 0.0
        measured = (self.frames - 1) / lasted if lasted > 0 else 0.0
        if self.header_fps and abs(measured - self.header_fps) <= _RATE_TOLERANCE * self.header_fps:
            return self.header_fps
        return measured or self.header_fps or _FPS_WHEN_UNKNOWN

    @property
    def max_gop(self) -> int:
        starts = [*self.keys, self.frames]
        return max((later - key for key, later in itertools.pairwise(starts)), default=self.frames)


def _judge(counts: _Counts, min_frames: int, max_frames: int) -> tuple[Status, str]:
    if not counts.frames or counts.frames > max_frames:
        return Status.UNREADABLE, counts.problem or "no frame could be decoded"
    if counts.problem:
        return Status.TRUNCATED, f"breaks off after {counts.frames} frames: {counts.problem}"
    if missing := _missing(counts):
        return Status.TRUNCATED, missing
    if counts.corrupt:
        return Status.TRUNCATED, f"damaged: {counts.corrupt} corrupt packets or frames"
    if counts.frames < min_frames:
        return Status.SHORT, f"{counts.frames} frames, fewer than {min_frames}"
    return Status.OK, ""


def _missing(counts: _Counts) -> str:
    """What the header promised and the file has not; empty when nothing is missing."""
    if "mp4" not in counts.container.split(","):
        # Packets are compared, not frames: packed B-frames leave packets that hold no frame.
        if counts.packets >= counts.header_frames:
            return ""
        return f"{counts.packets} of the {counts.header_frames} frames of its header are there"
    # The count of an mp4 may rightly hold samples that its edit list leaves out; its duration does not.
    there_sec = counts.until_sec - counts.from_sec
    if there_sec * (1 + _DURATION_TOLERANCE) + 2 / counts.fps >= counts.header_sec:
        return ""
    return f"{there_sec:.2f} of the {counts.header_sec:.2f} s of its header are there"


def _index(counts: _Counts, *, sha256: str, status: Status, reason: str) -> VideoIndex:
    return VideoIndex(
        frames=counts.frames,
        fps=counts.fps if counts.frames else 0.0,
        width=counts.size[0],
        height=counts.size[1],
        rotation=counts.rotation,
        sha256=sha256,
        status=status,
        reason=reason,
        codec=counts.codec,
        pixel_format=counts.pixel_format,
        container=counts.container,
        max_gop=counts.max_gop,
    )
