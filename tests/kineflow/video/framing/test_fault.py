"""Whole files are whole, the first part of any is not, and bytes that are lost or changed inside are noticed."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import av
import pytest

from kineflow.spec.status import Status
from kineflow.video.framing.avi import empty_avi_chunks
from kineflow.video.framing.fault import fault_of
from kineflow.video.index import index_video
from tests.kineflow.video import numbered

FRAMES = 40
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}


@dataclass(frozen=True)
class Kind:
    """A container with a codec."""

    suffix: str
    codec: str = "libx264"
    container: str | None = None
    muxing: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=lambda: {"g": "10"})


KINDS = {
    "mkv": Kind("mkv"),
    "webm": Kind("webm", "libvpx", options={"deadline": "realtime", "cpu-used": "8"}),
    "ogv": Kind("ogv", "libvpx", options={"deadline": "realtime", "cpu-used": "8"}),
    "ts": Kind("ts"),
    "m2ts": Kind("m2ts"),
    "flv": Kind("flv", "flv"),
    "wmv": Kind("wmv", "wmv2"),
    "mpg": Kind("mpg", "mpeg2video"),
    "avi": Kind("avi", "mpeg4"),
    "fragments": Kind("mp4", muxing=FRAGMENTS),
    "mp4": Kind("mp4", muxing={"movflags": "faststart"}),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("whole")
    return {
        name: numbered.write(
            folder / f"{name}.{kind.suffix}", FRAMES, codec=kind.codec, container=kind.container,
            muxing=kind.muxing, options=kind.options,
        )
        for name, kind in KINDS.items()
    }  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_whole_files_are_whole(whole: dict[str, Path], name: str) -> None:
    index = index_video(whole[name])
    assert (index.status, index.reason, index.frames) == (Status.OK, "", FRAMES)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.93])
@pytest.mark.parametrize("name", KINDS)
def test_the_first_part_of_a_file_is_not_whole(whole: dict[str, Path], tmp_path: Path, name: str, share: float) -> None:
    content = whole[name].read_bytes()
    path = tmp_path / whole[name].name
    path.write_bytes(content[: int(len(content) * share) | 1])  # MPEG-TS cannot tell where a frame ends at an even one
    index = index_video(path)
    assert index.status in (Status.TRUNCATED, Status.UNREADABLE)
    assert index.reason


def lost(content: bytearray, offset: int) -> None:
    del content[offset : offset + 30]


def inserted(content: bytearray, offset: int) -> None:
    content[offset:offset] = random.Random(1).randbytes(20)


@pytest.mark.parametrize("change", [lost, inserted])
@pytest.mark.parametrize("name", sorted(KINDS.keys() - {"avi"}))
def test_bytes_that_come_or_go_are_noticed(
    whole: dict[str, Path], tmp_path: Path, name: str, change: Callable[[bytearray, int], None]
) -> None:
    path = tmp_path / whole[name].name
    for share in (0.4, 0.6, 0.8):
        content = bytearray(whole[name].read_bytes())
        change(content, int(len(content) * share))
        path.write_bytes(content)
        assert index_video(path).status is not Status.OK, share


@pytest.mark.parametrize("name", ["mkv", "ogv"])
def test_check_sums_are_checked(whole: dict[str, Path], tmp_path: Path, name: str) -> None:
    content = bytearray(whole[name].read_bytes())
    path = tmp_path / whole[name].name
    for share in (0.35, 0.5, 0.65):
        changed = bytearray(content)
        changed[int(len(content) * share)] ^= 4
        path.write_bytes(changed)
        container = "matroska,webm" if name == "mkv" else "ogg"
        assert fault_of(path, container, 0)


class _Pipe(io.RawIOBase):
    """Something to write into from which no way leads back."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, content: bytes) -> int:  # type: ignore[override]
        self.content += content
        return len(content)


LIVE = {
    "matroska": ("libx264", {"live": "1"}),
    "webm": ("libvpx", {}),
    "flv": ("flv", {"flvflags": "no_duration_filesize"}),
    "mp4": ("libx264", FRAGMENTS),
    "mpegts": ("libx264", {}),
}


@pytest.mark.parametrize("container", LIVE)
def test_a_live_stream_states_no_length_and_is_whole(tmp_path: Path, container: str) -> None:
    codec, muxing = LIVE[container]
    pipe = _Pipe()
    numbered.write(tmp_path, FRAMES, codec=codec, container=container, muxing=muxing, target=pipe)
    path = tmp_path / f"live.{container}"
    path.write_bytes(pipe.content)
    index = index_video(path)
    assert (index.status, index.reason, index.frames) == (Status.OK, "", FRAMES)
    path.write_bytes(pipe.content[: len(pipe.content) // 2 + 3])
    assert index_video(path).status is Status.TRUNCATED


def test_a_page_that_is_missing(whole: dict[str, Path], tmp_path: Path) -> None:
    content = whole["ogv"].read_bytes()
    pages = [offset for offset in range(len(content)) if content.startswith(b"OggS", offset)]
    assert len(pages) > 4
    path = tmp_path / "a.ogv"
    path.write_bytes(content[: pages[3]] + content[pages[4] :])
    assert "1 pages are missing" in fault_of(path, "ogg", 0)
    path.write_bytes(content[: pages[-1]])
    assert fault_of(path, "ogg", 0) == "it ends without its last page"
    path.write_bytes(content + b"appended by a player")
    assert fault_of(path, "ogg", 0) == ""


def test_packets_that_are_missing(whole: dict[str, Path], tmp_path: Path) -> None:
    content = whole["ts"].read_bytes()
    with av.open(str(whole["ts"])) as container:
        pid = container.streams.video[0].id
    packets = [content[n : n + 188] for n in range(0, len(content), 188)]
    of_film = [n for n, packet in enumerate(packets) if int.from_bytes(packet[1:3], "big") & 0x1FFF == pid]
    middle = of_film[len(of_film) // 2]
    (tmp_path / "a.ts").write_bytes(b"".join(packets[:middle] + packets[middle + 1 :]))
    assert "missing at 1 places" in fault_of(tmp_path / "a.ts", "mpegts", pid)
    (tmp_path / "a.ts").write_bytes(b"".join(packets[:middle] + packets[middle:][:1] + packets[middle:]))
    assert fault_of(tmp_path / "a.ts", "mpegts", pid) == ""  # a packet may come twice


@pytest.mark.parametrize("container", ["matroska,webm", "ogg", "flv", "asf", "mpegts", "mpeg", "mov,mp4,m4a", "avi"])
def test_any_bytes_end_in_a_word(tmp_path: Path, container: str) -> None:
    chance = random.Random(container)
    path = tmp_path / "a"
    for size in (0, 1, 5, 300, 5000):
        for content in (bytes(size), b"\xff" * size, chance.randbytes(size)):
            path.write_bytes(content)
            assert isinstance(fault_of(path, container, 1), str)
            assert empty_avi_chunks(path, 0) >= 0


def test_changed_bytes_of_every_container_end_in_a_word(whole: dict[str, Path], tmp_path: Path) -> None:
    chance = random.Random(7)
    names = {"mkv": "matroska", "ogv": "ogg", "flv": "flv", "wmv": "asf", "ts": "mpegts", "mpg": "mpeg"}
    for name, container in [*names.items(), ("fragments", "mp4")]:
        content = whole[name].read_bytes()
        for _ in range(40):
            changed = bytearray(content)
            for _ in range(3):
                changed[chance.randrange(min(len(changed), 3000))] = chance.randrange(256)
            (tmp_path / "a").write_bytes(changed)
            assert isinstance(fault_of(tmp_path / "a", container, 1), str)
