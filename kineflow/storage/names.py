"""Names of files and classes as messages, logs and tables may hold them."""

from __future__ import annotations

from collections.abc import Sequence

_SHOWN_LETTERS = 120
_NAMES_SHOWN = 5


def is_utf8(name: str) -> bool:
    """Whether a name of the file system is UTF-8: Python keeps other bytes as lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def printable(name: str) -> str:
    """A name as it may be shown on a terminal: one with control characters or broken letters in quotes, escaped."""
    return name if name.isprintable() else ascii(name)


def shown(value: str) -> str:
    """A value in a message: in quotes, escaped, and not for ever."""
    return repr(_shortened(value))


def in_brief(name: str) -> str:
    """A name of a file that nobody vouches for: printable, and not for ever."""
    return printable(_shortened(name))


def first_few(names: Sequence[str]) -> str:
    """Up to five names, each in brief, and how many more there are."""
    more = len(names) - _NAMES_SHOWN
    few = ", ".join(map(in_brief, names[:_NAMES_SHOWN]))
    return few + (f", … and {more} more" if more > 0 else "")


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}…"
