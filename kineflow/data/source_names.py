"""Which recording a file was cut from, as its name says it: the name less the number of a part.

Two kinds of endings are known. Those that are nothing but parts are taken off wherever they stand: the seconds of a cut
(``_000123_000133``), a word with a number (``-clip2``, ``_part03``, ``.seg4``), a number in brackets (``(3)``). A bare
number may count parts (``ann_1``, ``ann_2``) or recordings (``fight_001`` to ``fight_149``): it is taken for a part
where that makes several recordings, none of which has most of the clips. What is called as a class is no recording:
``wave_001`` to ``wave_020`` are clips of waving.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from posixpath import splitext

_PART = re.compile(
    r"(?:[ _.-]*\(\d{1,4}\)"
    r"|[_-]\d{6}[_-]\d{6}"
    r"|[ _.-]+(?:clip|part|seg|segment|chunk|scene|shot|cut|c|p|s)[ _.-]?\d{1,5})$",
    re.IGNORECASE | re.ASCII,
)
_NUMBER = re.compile(r"[ _-]\d{1,5}$", re.ASCII)
_LEAST_LETTERS = 2
_LEAST_SOURCES = 4
_MOST_SHARE = 0.25


def source_names(names: Sequence[str], classes: Collection[str] = ()) -> list[str]:
    """What each clip's recording is called; empty where the name tells of no part.

    Recordings of one name are one wherever the files lie: a recording may hold several classes. What is left of a name
    must have two letters or figures at least, and a clip that is called as a recording without any part is one of it.

    Args:
        names: Paths of the clips' files, with ``/``.
        classes: Of the clips.
    """
    called = frozenset(map(_letters, classes))
    stems = [splitext(name.rpartition("/")[2])[0].strip() for name in names]
    plain = [_PART.sub("", stem).rstrip(" _.-") for stem in stems]
    plain = _without_numbers(plain, called)
    is_part = [name != stem.rstrip(" _.-") and _tells(name, called) for name, stem in zip(plain, stems, strict=True)]
    sources = {name.casefold() for name, part in zip(plain, is_part, strict=True) if part}
    return [name if name.casefold() in sources else "" for name in map(str.casefold, plain)]


def _without_numbers(names: Sequence[str], called: Collection[str]) -> list[str]:
    """Names less a bare number at their end, where those number parts."""
    cut = [_NUMBER.sub("", name) for name in names]
    numbered = [short for short, name in zip(cut, names, strict=True) if short != name and _tells(short, called)]
    counts = Counter(map(str.casefold, numbered))
    if len(counts) < _LEAST_SOURCES or max(counts.values()) > _MOST_SHARE * len(names):
        return list(names)
    return [short if _tells(short, called) else name for short, name in zip(cut, names, strict=True)]


def _tells(name: str, called: Collection[str]) -> bool:
    """Whether a name is long enough to be one, and none of ``called``, the letters of classes."""
    letters = _letters(name)
    return len(letters) >= _LEAST_LETTERS and letters not in called


def _letters(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
