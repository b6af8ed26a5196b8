"""What a file is that is no video we read: named by its first bytes, so that a message can say what to do with it."""

from __future__ import annotations

import re

HEAD_BYTES = 4096
"""How much of a file is enough."""

_CONVERTIBLE = (
    (rb"GIF8[79]a", "a GIF"),
    (rb".{0,1024}\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01", "an MXF file"),
    (rb"\x1f\x07\x00[\x3f\xbf]", "a raw DV stream"),
    (rb"\x00\x00\x01\xb3", "a raw MPEG-1 or MPEG-2 video stream"),
    (rb"\x00\x00\x01\xb0|\x00\x00\x01[\x00-\x1f]\x00\x00\x01[\x20-\x2f]", "a raw MPEG-4 video stream"),
    (rb"(?:\x00)?\x00\x00\x01(?:[\x40\x42\x44]\x01|\x46\x01)", "a raw H.265 stream"),
    (rb"(?:\x00)?\x00\x00\x01[\x09\x06\x27\x67\x47]", "a raw H.264 stream"),
    (rb"\x12\x00\x0a", "a raw AV1 stream"),
    (rb"BBCD\x00", "a raw Dirac stream"),
    (rb"DKIF", "an IVF file"),
    (rb"YUV4MPEG2", "a YUV4MPEG file"),
    (rb"\.RMF", "a RealMedia file"),
    (rb"nut/multimedia container\x00", "a NUT file"),
    (rb"\xb7\xd8\x00\x20\x37\x49\xda\x11", "a WTV recording"),
    (rb"[FCZ]WS[\x03-\x30]", "a Flash (SWF) file"),
    (rb"BIK[a-k]|KB2[a-k]", "a Bink video"),
    (rb"FILM.{12}FDSC|.{4}\x11\xaf|.{4}\x12\xaf", "a game's video"),
    (rb"DHAV|IMKH|HKMI", "a surveillance recorder's file"),
    (rb"RIFF....WEBP", "a WebP picture"),
    (rb"TKF|NSV[fs]", "an old streaming format"),
)
_OTHER = (
    (rb"#EXTM3U", "a playlist (HLS), not a video"),
    (rb"ffconcat version", "a playlist, not a video"),
    (rb"\s*(?:<\?xml[^>]*>\s*)?<MPD", "a playlist (DASH), not a video"),
    (rb"(?i)\s*<(?:!doctype html|html|head|body)", "a web page, not a video: the download failed"),
    (rb"version https://git-lfs", "a Git LFS pointer, not the video: fetch it with 'git lfs pull'"),
    (rb"\s*[{\[]\s*\"", "JSON, not a video: the download failed"),
    (rb"PK\x03\x04", "a zip archive, not a video: unpack it"),
    (rb"\x1f\x8b\x08|BZh\d|\xfd7zXZ\x00|7z\xbc\xaf\x27\x1c|Rar!", "a compressed archive, not a video: unpack it"),
    (rb"\x89PNG|\xff\xd8\xff|BM.{4}\x00\x00\x00\x00|II\*\x00|MM\x00\*", "a picture, not a video"),
    (rb"ID3|fLaC|RIFF....WAVE|\xff[\xfb\xf3\xf2\xf1\xf9]", "sound, not a video"),
    (rb"\x00\x05\x16\x07", "a macOS '._' file, not the video itself"),
    (rb"\Z", "an empty file"),
    (rb"\x00{64}", "zeros: its download or copy never came to its beginning"),
)


def what_it_is(head: bytes) -> str:
    """What the file is, and what to do about it; empty when that cannot be told.

    The file's name is no part of it: what is known of a video is kept by its bytes, and copies have other names.

    Args:
        head: Its first :data:`HEAD_BYTES` bytes.
    """
    for pattern, kind in _CONVERTIBLE:
        if re.match(pattern, head, re.DOTALL):
            return f"{kind}; convert it: ffmpeg -i IN -c:v libx264 -crf 17 -pix_fmt yuv420p OUT.mp4"
    return next((kind for pattern, kind in _OTHER if re.match(pattern, head, re.DOTALL)), "")
