"""Videos on a real S3 server: frame for frame what the local file gives, from a part of its bytes, and as carefully."""

from __future__ import annotations

import contextlib
import io
import shutil
import struct
import uuid
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from kineflow.storage import media as media_module
from kineflow.storage.errors import KineflowError
from kineflow.storage.media import RemoteFile
from kineflow.storage.ranges import RangeReader, StorageError, Traffic, traffic
from kineflow.video.decode import iter_frames, iter_luma, read_frames, read_video
from tests.kineflow.video import numbered
from tests.swift import Swift

pytestmark = pytest.mark.slow

BLOCK = 16 * 1024
INDICES = ([150, 20, 77, 20], [0], [3, 2], [199], [18, 19, 20, 21], list(range(0, 200, 9)))
VARIANTS: dict[str, dict[str, str]] = {
    "ours": {"g": "12", "bf": "0"},
    "one_gop": {"g": "250", "bf": "0"},
    "b_frames": {"g": "12", "bf": "3"},
    "open_gop": {"g": "10", "bf": "3", "x264-params": "open-gop=1:b-adapt=0"},
    "late_start": {"g": "12", "bf": "2"},
    "header_first": {"g": "12", "bf": "0"},
    "in_fragments": {"g": "12", "bf": "2"},
    "avi": {"g": "12", "bf": "0"},
}
MUXING = {"header_first": {"movflags": "+faststart"}, "in_fragments": {"movflags": "+frag_keyframe+empty_moov"}}


def write(path: Path, frames: int, options: dict[str, str], muxing: dict[str, str], first_pts: int = 0) -> Path:
    noise = np.random.default_rng(0)
    with av.open(str(path), "w", options=muxing) as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.height, stream.width, stream.pix_fmt = 64, 80, "yuv420p"
        stream.options = {"preset": "veryfast", "crf": "12", "sc_threshold": "0", **options}
        stream.codec_context.thread_count = 1
        for number in range(frames):
            image = noise.integers(0, 256, (64, 80, 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts = first_pts + number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def videos(swift: Swift, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, RemoteFile]]:
    """Each variant as a local file, and on S3; 200 frames of noise, 0.5 MB."""
    folder, bucket = tmp_path_factory.mktemp("videos"), swift.make_bucket()
    made = {}
    for name, options in VARIANTS.items():
        suffix = "avi" if name == "avi" else "mp4"
        path = write(folder / f"{name}.{suffix}", 200, options, MUXING.get(name, {}), 17 * (name == "late_start"))
        swift.client().upload_file(str(path), bucket, f"clips/{path.name}")
        made[name] = (path, RemoteFile(f"s3://{bucket}/clips/{path.name}"))
    return made


@pytest.fixture(autouse=True)
def server(swift: Swift, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in swift.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KINEFLOW_CACHE_DIR", str(tmp_path / "cache"))
    # Blocks as small beside these short clips as real ones are beside long clips.
    monkeypatch.setattr(media_module, "RangeReader", lambda uri: RangeReader(uri, block_bytes=BLOCK))


@pytest.mark.parametrize("name", VARIANTS)
def test_frames_are_those_of_the_local_file(videos: dict[str, tuple[Path, RemoteFile]], name: str) -> None:
    local, remote = videos[name]
    for indices in INDICES:
        here, there = (read_video(video, indices, pixel_format="yuv444p") for video in (local, remote))
        assert np.array_equal(here.frames, there.frames)
        assert here.fps == there.fps
    assert np.array_equal(read_frames(local), read_frames(remote))


def test_frames_one_by_one_are_those_of_the_local_file(videos: dict[str, tuple[Path, RemoteFile]]) -> None:
    local, remote = videos["b_frames"]
    for here, there in zip(iter_luma(local), iter_luma(remote), strict=True):
        assert np.array_equal(here, there)
    part = {"start": 5, "stop": 9, "size": (40, 32)}
    assert [image.shape for image in iter_frames(remote, **part)] == [(32, 40, 3)] * 4


@pytest.mark.parametrize("bf", ["0", "3"], ids=["ours", "b_frames"])
def test_a_few_frames_of_a_long_clip_cost_a_small_part_of_it_and_nothing_the_second_time(
    swift: Swift, tmp_path: Path, bf: str
) -> None:
    local, bucket = write(tmp_path / "long.mp4", 1000, {"g": "12", "bf": bf}, {}), swift.make_bucket()
    swift.client().upload_file(str(local), bucket, "long.mp4")
    remote = RemoteFile(f"s3://{bucket}/long.mp4")
    before = traffic()
    frames = read_frames(remote, [150, 520, 830])
    first = traffic() - before
    assert first.received_bytes < 0.1 * local.stat().st_size
    assert first.requests <= 10
    assert np.array_equal(read_frames(remote, [150, 520, 830]), frames)
    again = traffic() - before - first
    assert (again.requests, again.received_bytes) == (0, 0)
    assert again.cached_blocks > 0
    assert np.array_equal(read_frames(local, [150, 520, 830]), frames)


def test_early_frames_cost_the_beginning(videos: dict[str, tuple[Path, RemoteFile]]) -> None:
    local, remote = videos["header_first"]
    before = traffic()
    read_frames(remote, [0, 3])
    assert (traffic() - before).received_bytes < 0.3 * local.stat().st_size


def test_a_header_that_lies_about_key_frames_is_not_followed(
    videos: dict[str, tuple[Path, RemoteFile]], swift: Swift, tmp_path: Path
) -> None:
    local, _ = videos["ours"]
    content = bytearray(local.read_bytes())
    place = content.index(b"stss") + 8  # count, then numbers from 1
    (count,) = struct.unpack_from(">I", content, place)
    for entry in range(1, count):
        (number,) = struct.unpack_from(">I", content, place + 4 + 4 * entry)
        struct.pack_into(">I", content, place + 4 + 4 * entry, number + 5)
    lying, bucket = tmp_path / "lying.mp4", swift.make_bucket()
    lying.write_bytes(content)
    swift.client().upload_file(str(lying), bucket, "lying.mp4")
    remote = RemoteFile(f"s3://{bucket}/lying.mp4")
    assert np.array_equal(read_frames(remote, [150, 77]), read_frames(local, [150, 77]))


class TestUntrusted:
    @pytest.fixture(scope="class")
    def place(self, swift: Swift) -> tuple[Any, str]:
        """A client, and a bucket."""
        return swift.client(), swift.make_bucket()

    def put(self, place: tuple[Any, str], content: bytes, name: str = "clip.mp4") -> RemoteFile:
        (client, bucket), key = place, f"{uuid.uuid4()}/{name}"
        client.put_object(Bucket=bucket, Key=key, Body=content)
        return RemoteFile(f"s3://{bucket}/{key}")

    @pytest.mark.parametrize("key", ["clip.mp4", "list.m3u8", "list.txt"])
    def test_a_playlist_is_no_video(
        self, place: tuple[Any, str], videos: dict[str, tuple[Path, RemoteFile]], tmp_path: Path, key: str
    ) -> None:
        local, _ = videos["ours"]
        shutil.copyfile(local, tmp_path / "secret.ts")
        playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:8\n#EXTINF:8,\nfile://{tmp_path}/secret.ts\n#EXT-X-ENDLIST\n"
        concat = f"ffconcat version 1.0\nfile '{tmp_path}/secret.ts'\n"
        with pytest.raises(KineflowError, match="not readable as a video"):
            read_frames(self.put(place, (concat if key == "list.txt" else playlist).encode(), key))

    def test_pictures_said_to_be_in_another_file_are_not_looked_for(
        self,
        place: tuple[Any, str],
        videos: dict[str, tuple[Path, RemoteFile]],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        secret = tmp_path / "secret.bin"
        shutil.copyfile(videos["ours"][0], secret)
        content = referring_to(secret, videos["ours"][0].read_bytes())
        asked: list[str] = []
        with (
            contextlib.suppress(ValueError),
            av.open(  # the answer is no file
                io.BytesIO(content), io_open=lambda name, *_: asked.append(name), options={"enable_drefs": "1"}
            ),
        ):
            pass
        assert asked == ["secret.bin"]  # FFmpeg would, were it allowed to

        asked.clear()
        monkeypatch.setattr("kineflow.video.opening._open_nothing_else", lambda name, *_: asked.append(name))
        with pytest.raises(KineflowError):
            read_frames(self.put(place, content))
        assert asked == []

    @pytest.mark.parametrize("suffix", ["mp4", "mkv"])
    def test_pictures_are_shown_as_locally(self, place: tuple[Any, str], tmp_path: Path, suffix: str) -> None:
        mirrored = [-1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30]
        local = numbered.write(tmp_path / f"a.{suffix}", 30, aspect=Fraction(2), matrix=mirrored, options={"g": "10"})
        remote = self.put(place, local.read_bytes(), local.name)
        assert read_frames(local).shape == (30, 48, 128, 3)
        for indices in (None, [2, 0], [28]):
            assert np.array_equal(read_frames(remote, indices), read_frames(local, indices))
        assert all(map(np.array_equal, iter_luma(remote), iter_luma(local)))

    def test_pictures_are_bounded(self, videos: dict[str, tuple[Path, RemoteFile]]) -> None:
        _, remote = videos["ours"]
        for indices in (None, [150]):
            with pytest.raises(KineflowError, match="not readable as a video"):
                read_frames(remote, indices, max_pixels=64 * 80 - 1)

    def test_frames_are_bounded(self, videos: dict[str, tuple[Path, RemoteFile]]) -> None:
        _, remote = videos["ours"]
        with pytest.raises(KineflowError, match="more than 100 frames"):
            read_frames(remote, max_frames=100)

    @pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"no video at all"], ids=["empty", "zeros", "text"])
    def test_what_is_no_video_is_named_by_its_address(self, place: tuple[Any, str], content: bytes) -> None:
        remote = self.put(place, content)
        with pytest.raises(KineflowError, match="not readable as a video") as caught:
            read_frames(remote)
        assert str(caught.value).startswith(f"{remote}: ")

    def test_a_video_that_is_cut_off_is_an_error_as_locally(
        self, place: tuple[Any, str], videos: dict[str, tuple[Path, RemoteFile]], tmp_path: Path
    ) -> None:
        content = videos["header_first"][0].read_bytes()[:200_000]
        (tmp_path / "cut.mp4").write_bytes(content)
        for indices in ([190], [20, 30]):
            results = []
            for video in (tmp_path / "cut.mp4", self.put(place, content)):
                try:
                    results.append(read_frames(video, indices).tobytes())
                except KineflowError as error:
                    results.append(error.problem)
            assert results[0] == results[1]


def test_a_missing_object_is_named(swift: Swift) -> None:
    remote = RemoteFile(f"s3://{swift.make_bucket()}/gone.mp4")
    with pytest.raises(KineflowError, match="no such object") as caught:
        read_frames(remote, [150])
    assert str(remote) in str(caught.value)


@pytest.mark.parametrize("read", [read_frames, lambda video: list(iter_luma(video))], ids=["frames", "luma"])
def test_a_failure_in_the_middle_is_never_taken_for_the_end(
    swift: Swift, videos: dict[str, tuple[Path, RemoteFile]], monkeypatch: pytest.MonkeyPatch, read: Any
) -> None:
    """FFmpeg ends a video in silence where it can read no further."""
    _, remote = videos["header_first"]
    received = RangeReader._receive

    def failing(self: RangeReader, start: int, stop: int, content: bytearray) -> Any:
        if start > 100_000:
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "revoked")
        return received(self, start, stop, content)

    monkeypatch.setattr(RangeReader, "_receive", failing)
    with pytest.raises(StorageError, match="the S3 server refused"):
        read(remote)


def test_traffic_adds_up() -> None:
    assert Traffic(1, 2, 3) + Traffic(1, 1, 1) - Traffic(1, 0, 0) == Traffic(1, 3, 4)


def referring_to(path: Path, mp4: bytes) -> bytes:
    """The mp4 with a QuickTime alias of ``path`` where it says in which file its pictures are."""
    name = str(path).encode()
    record = bytearray(150)
    record[10:12] = b"\x01/"  # length and name of the volume
    record[50] = len(path.name)
    record[51 : 51 + len(path.name)] = path.name.encode()
    struct.pack_into(">hh", record, 130, 1, 1)  # how far up and down the path goes
    whole_path = struct.pack(">hH", 2, len(name)) + name + b"\0" * (len(name) & 1)
    body = bytes(record) + whole_path + struct.pack(">hH", -1, 0)
    entry = struct.pack(">I4sI", 12 + len(body), b"alis", 0) + body
    table = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    start = mp4.index(b"dref") - 4
    (size,) = struct.unpack_from(">I", mp4, start)
    changed = bytearray(mp4[:start] + table + mp4[start + size :])
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        place = changed.index(box) - 4
        struct.pack_into(">I", changed, place, struct.unpack_from(">I", changed, place)[0] + len(table) - size)
    return bytes(changed)
