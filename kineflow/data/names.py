"""Names of files and classes as messages, logs and tables may hold them."""

from __future__ import annotations

_SHOWN_LETTERS = 120


def is_utf8(name: str) -> bool:
    """Whether a name of the file system is UTF-8: Python keeps other bytes as lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def printable(name: str) -> str:
    """A name as it may be shown on a terminal: one with control characters or broken letters in quotes, escaped."""
    return name if name.isprintable() else ascii(name)


def shown(value: str) -> str:
    """A value in a message: in quotes, escaped, and not for ever."""
    return repr(value if len(value) <= _SHOWN_LETTERS else f"{value[:_SHOWN_LETTERS]}…")
