"""Whether a clip, its flow or its features can be used."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """What decoding the whole clip once has shown."""

    OK = "ok"
    SHORT = "short"  # fewer frames than the shortest allowed
    TRUNCATED = "truncated"  # decodes, but ends before its header says or breaks off in the middle
    UNREADABLE = "unreadable"  # no frame could be decoded
