"""Which frames of a video are where: the time stamps of all of them, and the key frames, without decoding any.

Only H.264 in mp4 is sure: there a packet is a frame. (AVI with packed B-frames holds packets that are none.) What a
header says is believed as far as decoding confirms it (:func:`numbered`).
"""

from __future__ import annotations

import bisect
import io
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from kineflow.spec.video_bounds import MAX_FILE_FRAMES
from kineflow.storage.media import RemoteFile
from kineflow.video.opening import is_mp4, opened, packets_of, remote_source


class Stamps(NamedTuple):
    """Of a video; empty where nothing is sure.

    Attributes:
        times: Of all frames in the order they are shown.
        key_numbers: Numbers of the key frames.
        by_header: Whether no packet was looked at.
    """

    times: list[int]
    key_numbers: list[int]
    by_header: bool = False

    def key_before(self, number: int) -> int:
        """The last key frame up to a frame."""
        return self.key_numbers[bisect.bisect_right(self.key_numbers, number) - 1]


def time_stamps(container: Any, stream: Any) -> Stamps:
    """Of an opened video; of one without reordered frames by the table in its header, else by its packets."""
    if not _is_sure(container, stream):
        return Stamps([], [])
    return _listed(stream) or _ordered(_facts(container, stream), None)


def stamps_in_header(video: RemoteFile, max_pixels: int) -> Stamps:
    """As :func:`time_stamps`, without the pictures: those of an mp4 are looked up in its header, and not fetched.

    Once the header is read, the demuxer gets zeros for everything else.
    """
    with remote_source(video) as source:
        blank = _Blank(source)
        with opened(blank, video, max_pixels) as (container, stream):
            # A header in pieces (moof boxes) lists no frames; the pieces would be lost among the pictures.
            if not _is_sure(container, stream) or not stream.frames:
                return Stamps([], [])
            blank.from_now_on = True
            facts = _facts(container, stream)
            return _ordered(facts, {entry.timestamp for entry in stream.index_entries if entry.is_keyframe})


def numbered(frames: Iterable[Any], stamps: Stamps, key: int) -> Iterator[tuple[int, Any]]:
    """Decoded frames with their numbers from the key frame ``key`` on, to which was sought.

    Ends early at a frame that is not the one which the stamps say comes next.
    """
    number = key
    for frame in frames:
        if number == key and frame.pts is not None and frame.pts < stamps.times[key]:
            continue  # shown before the key frame, decoded after it
        if number >= len(stamps.times) or frame.pts != stamps.times[number]:
            return
        if number == key and stamps.by_header and not frame.key_frame:  # a header may lie
            return
        yield number, frame
        number += 1


def _listed(stream: Any) -> Stamps | None:
    """By the header's table of an mp4; None where frames are shown in another order than they are stored."""
    if stream.codec_context.has_b_frames or not 0 < stream.frames <= MAX_FILE_FRAMES:
        return None
    if len(stream.index_entries) != stream.frames:  # before a hostile table becomes objects
        return None
    entries = list(stream.index_entries)
    times = [entry.timestamp for entry in entries]
    sound = (
        entries[0].is_keyframe
        and all(entry.size and not entry.is_discard for entry in entries)  # what is empty is no frame
        and all(one < next_one for one, next_one in itertools.pairwise(times))
    )
    if not sound:
        return None
    return Stamps(times, [number for number, entry in enumerate(entries) if entry.is_keyframe], by_header=True)


class _Blank:
    """A file whose content turns into zeros at a word."""

    def __init__(self, source: io.RawIOBase) -> None:
        self._source = source
        self.from_now_on = False
        self.seek, self.tell = source.seek, source.tell

    def read(self, size: int) -> bytes:
        if not self.from_now_on:
            return self._source.read(size) or b""
        here = self.tell()
        return bytes(max(0, self.seek(min(here + size, self._source.seek(0, io.SEEK_END))) - here))


def _is_sure(container: Any, stream: Any) -> bool:
    return stream.codec_context.name == "h264" and is_mp4(container)


class _Facts(NamedTuple):
    """Of a packet, without its content."""

    pts: int | None
    dts: int | None
    is_key: bool
    is_sound: bool


def _facts(container: Any, stream: Any) -> list[_Facts]:
    return [
        _Facts(packet.pts, packet.dts, packet.is_keyframe, not (packet.is_discard or packet.is_corrupt))
        for packet in itertools.islice(packets_of(container, stream), MAX_FILE_FRAMES + 1)
        if packet.size
    ]


def _ordered(packets: list[_Facts], key_dts: set[int] | None) -> Stamps:
    """``key_dts`` names the key frames where the content of the packets is not at hand."""
    times = sorted(packet.pts for packet in packets if packet.pts is not None)
    is_key = [packet.is_key if key_dts is None else packet.dts in key_dts for packet in packets]
    sound = (
        0 < len(packets) <= MAX_FILE_FRAMES
        and len(set(times)) == len(packets)
        and is_key[0]
        and packets[0].pts == times[0]
        and all(packet.is_sound for packet in packets)
    )
    if not sound:
        return Stamps([], [])
    number_of = {pts: number for number, pts in enumerate(times)}
    keys = sorted(
        number_of[packet.pts] for packet, key in zip(packets, is_key, strict=True) if key and packet.pts is not None
    )
    return Stamps(times, keys, by_header=key_dts is not None)
