"""What the exports of labelling tools have in common: where a tool says that a video is, and the file that it means."""

from __future__ import annotations

import re
from posixpath import splitext
from urllib.parse import parse_qs, unquote, urlsplit

from kineflow.data.layouts.videos import VIDEO_SUFFIXES, FoundVideo, Videos

_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")  # Label Studio's mark before the name of a file that was uploaded


def is_video(address: str) -> bool:
    """Whether an address ends as videos do."""
    return splitext(path_of(address))[1].lower() in VIDEO_SUFFIXES


def path_of(address: str) -> str:
    """The path in an address: what ``/data/local-files/?d=a/b.mp4`` asks for; of a URL all but server and query."""
    if "://" not in address and "?" not in address:
        return address
    try:
        parts = urlsplit(address)
    except ValueError:  # brackets that hold no address
        return address
    asked = parse_qs(parts.query).get("d", [""])[0]
    return asked or unquote(parts.path)


def find_exported(address: str, videos: Videos) -> FoundVideo:
    """The file of the source that a tool means by an address; only its name is used, and nothing is fetched.

    The path is tried from its beginning, then without its first folders one by one, then the name alone in any folder,
    and that again without the mark that Label Studio puts before the names of uploads.
    """
    path = path_of(address).replace("\\", "/").lstrip("/")
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    if not parts:
        return FoundVideo(address, is_there=False)
    for first in range(len(parts)):
        found = videos.at("/".join(parts[first:]))
        if found.is_there:
            return found
    candidates = [parts[-1], _UPLOADED.sub("", parts[-1])]
    for name in dict.fromkeys(candidates):
        found = videos.find(name, label="", classes=frozenset())
        if found.is_there or found.missing:
            return found
    return FoundVideo(candidates[0], is_there=False)
