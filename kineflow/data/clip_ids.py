"""What clips are called: readable, unique, and safe as the name of a file wherever one is made of it."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from kineflow.data.layouts.rows import ListedClip

_DIGITS = 8  # of the hash that is added to some ids
_MOST_LETTERS = 160  # of one part: files may be called 255 bytes, with a hash of 64 and a suffix
_MOST_IN_ALL = 1000


def clip_ids(clips: Sequence[ListedClip]) -> list[str]:
    """Clip ids in the order of ``clips``: the path of the video without its suffix, and the part, as it was told.

    A part is in milliseconds (``_0-2500ms``) or in frames (``_0-75f``).

    Ids hold letters, digits, ``_``, ``-`` and ``/`` only, and no part of one is longer than a file may be called, with
    room for a suffix. Where that changed a name, or two names became one, a hash of the original is added: its first
    digits, or all of it where names of few letters have those in common too.
    """
    plain = [_plain_id(clip) for clip in clips]
    ids = [_safe(identity) for identity in plain]
    altered = _alike(ids) | {n for n, identity in enumerate(plain) if ids[n] != identity}
    hashes = {n: hashlib.sha256(f"{clips[n].source}|{plain[n]}".encode()).hexdigest() for n in sorted(altered)}
    short = [f"{identity}-{hashes[n][:_DIGITS]}" if n in hashes else identity for n, identity in enumerate(ids)]
    still = _alike(short) & hashes.keys()
    return [f"{ids[n]}-{_whole_hash(clips[n])}" if n in still else identity for n, identity in enumerate(short)]


def _whole_hash(clip: ListedClip) -> str:
    """Of all that tells a clip from the others, also where parts begin within one millisecond."""
    frames = "" if clip.start_frame is clip.end_frame is None else f"|{clip.start_frame}|{clip.end_frame}"
    return hashlib.sha256(f"{clip.source}|{clip.start_sec}|{clip.end_sec}{frames}".encode()).hexdigest()


def _plain_id(clip: ListedClip) -> str:
    identity = PurePosixPath(clip.source).with_suffix("").as_posix()
    if not (clip.start_frame is None and clip.end_frame is None):
        stop = "end" if clip.end_frame is None else str(clip.end_frame)
        return f"{identity}_{clip.start_frame or 0}-{stop}f"
    if clip.start_sec is None and clip.end_sec is None:
        return identity
    end = "end" if clip.end_sec is None else f"{clip.end_sec * 1000:.0f}"
    return f"{identity}_{(clip.start_sec or 0.0) * 1000:.0f}-{end}ms"


def _safe(identity: str) -> str:
    letters = re.sub(r"[^\w/-]", "_", identity, flags=re.ASCII)
    parts = "/".join(part[:_MOST_LETTERS] for part in letters.split("/"))
    return parts[:_MOST_IN_ALL].rstrip("/")


def _alike(ids: Sequence[str]) -> set[int]:
    """Places of ids that are not the only ones of their letters, upper and lower case taken for one."""
    counts = Counter(identity.lower() for identity in ids)
    return {n for n, identity in enumerate(ids) if counts[identity.lower()] > 1}
