"""Files that are no video we read are called by their name, with what to do about them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.video.decode import read_frames
from kineflow.video.foreign import what_it_is
from kineflow.video.index import index_video
from tests.kineflow.video import numbered

WRITTEN = {
    "GIF": ("gif", "gif", "clip.gif"),
    "MXF": ("mpeg2video", "mxf", "clip.mxf"),
    "raw MPEG-1 or MPEG-2": ("mpeg2video", "mpeg2video", "clip.m2v"),
    "raw H.264": ("libx264", "h264", "clip.mp4"),
    "raw MPEG-4": ("mpeg4", "m4v", "clip.avi"),
    "IVF": ("libvpx", "ivf", "clip.ivf"),
    "NUT": ("mpeg4", "nut", "my clip"),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_other_containers_are_named_with_the_command_that_converts_them(tmp_path: Path, kind: str) -> None:
    codec, container, name = WRITTEN[kind]
    path = tmp_path / name
    if codec == "gif":
        write_gif(path)
    else:
        numbered.write(path, 5, codec=codec, container=container)
    index = index_video(path)
    assert index.status is Status.UNREADABLE
    assert kind in index.reason
    assert path.stem not in index.reason  # which is kept by the file's bytes, and copies have other names
    assert "convert it: ffmpeg -i IN " in index.reason
    with pytest.raises(KineflowError, match=kind):
        read_frames(path)


def write_gif(path: Path) -> None:
    import av

    with av.open(str(path), "w") as out:
        stream = out.add_stream("gif", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb8"
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(numbered.picture(number), "rgb24").reformat(format="rgb8")
            out.mux(stream.encode(frame))
        out.mux(stream.encode())


OTHER = {
    b"": "empty",
    b"<!DOCTYPE html>\n<html><body>404": "web page",
    b'{"error": "forbidden"}': "JSON",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n": "git lfs pull",
    b"#EXTM3U\n#EXTINF:8,\nfile:///etc/passwd\n": "playlist",
    b"PK\x03\x04\x14\x00": "zip",
    b"\x89PNG\r\n\x1a\n": "a picture",
    b"ID3\x04\x00": "sound",
    bytes(5000): "zeros",
    b"\x1f\x07\x00\x3f\x00": "DV",
}


@pytest.mark.parametrize("content", OTHER, ids=lambda content: OTHER[content])
def test_what_is_no_video_at_all(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    assert OTHER[content] in index_video(tmp_path / "a.mp4").reason


def test_nothing_is_guessed() -> None:
    assert what_it_is(b"this is no video\n") == ""
