"""Which picture stream is the film, in files that hold several; and that everyone takes the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from kineflow.spec.status import Status
from kineflow.video.decode import iter_frames, iter_luma, read_frames
from kineflow.video.index import index_video


@dataclass(frozen=True)
class Pictures:
    """A stream of pictures of one level."""

    level: int
    size: tuple[int, int] = (64, 48)
    frames: int = 30
    codec: str = "libx264"
    disposition: Disposition = field(default_factory=lambda: Disposition(0))


FILM = Pictures(level=200)


def write(path: Path, *streams: Pictures) -> Path:
    with av.open(str(path), "w") as container:
        made = []
        for given in streams:
            stream = container.add_stream(given.codec, rate=25)
            stream.width, stream.height = given.size
            stream.pix_fmt = "yuvj420p" if given.codec == "mjpeg" else "yuv420p"
            stream.disposition = given.disposition
            stream.codec_context.thread_count = 1
            made.append(stream)
        for number in range(max(given.frames for given in streams)):
            for given, stream in zip(streams, made, strict=True):
                if number < given.frames:
                    image = np.full((*given.size[::-1], 3), given.level, np.uint8)
                    frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=stream.pix_fmt)
                    frame.pts, frame.time_base = number, Fraction(1, 25)
                    container.mux(stream.encode(frame))
        for stream in made:
            container.mux(stream.encode())
    return path


OTHERS = {
    "a small preview": Pictures(50, size=(32, 24)),
    "a small preview by default": Pictures(50, size=(32, 24), disposition=Disposition.default),
    "a large but short trailer": Pictures(50, size=(96, 72), frames=5),
    "a large still": Pictures(50, size=(128, 96), frames=1, codec="mjpeg"),
}


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("other", OTHERS)
def test_the_film_is_found_behind(tmp_path: Path, other: str, suffix: str) -> None:
    path = write(tmp_path / f"a.{suffix}", OTHERS[other], FILM)
    index = index_video(path)
    assert (index.status, index.frames, index.width, index.stream) == (Status.OK, 30, 64, 1)
    for frames in (read_frames(path), read_frames(path, [3, 29]), np.stack(list(iter_frames(path, start=28)))):
        assert np.abs(frames.astype(int) - 200).max() < 4
    assert len(list(iter_luma(path))) == 30


def test_a_cover_is_no_film(tmp_path: Path) -> None:
    cover = Pictures(50, size=(128, 96), frames=1, codec="mjpeg", disposition=Disposition.attached_pic)
    index = index_video(write(tmp_path / "a.mp4", cover, FILM))
    assert (index.frames, index.width) == (30, 64)


@pytest.mark.parametrize("default", [0, 1])
def test_of_two_alike_the_default_one(tmp_path: Path, default: int) -> None:
    streams = [Pictures(50), FILM]
    streams[default] = Pictures(streams[default].level, disposition=Disposition.default)
    assert index_video(write(tmp_path / "a.mkv", *streams)).stream == default


def test_of_one_picture_is_what_it_is(tmp_path: Path) -> None:
    assert index_video(write(tmp_path / "a.mp4", Pictures(90, frames=1))).frames == 1
