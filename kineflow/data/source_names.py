"""Which recording a file was cut from, as its name says it: the name less the number of a part.

Three kinds of endings are known. Those that are nothing but parts are taken off wherever they stand: the seconds of a
cut (``_000123_000133``), and the chapters into which GoPro cuts a film (``GX010042``, ``GX020042``). A word with a
number (``-clip2``, ``_part03``, ``.seg4``) and a number in brackets (``(3)``) are taken for parts too, unless nearly
all clips, or nearly all of a class, share what stands before them: ``my_clip_001`` to ``my_clip_300`` are counted, and
cut from nothing. A bare number may count parts (``ann_1``, ``ann_2``) or recordings (``fight_001`` to ``fight_149``):
it is taken for a part where that makes several recordings, none of which has most of the clips.

What tells of no recording: the name of a class (``wave_001`` to ``wave_020`` are clips of waving), what cameras and
programs call every file (``IMG_0001``, ``video (1)``), and a date. A date says when and not of what: a day holds many
recordings, often of all classes, and with one group a day there are soon too few groups to be parted. Two clips of
one scene on one day are told by their pictures.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from posixpath import splitext

_CUT = re.compile(r"[_-](\d{6})[_-](\d{6})$", re.ASCII)
_CHAPTER = re.compile(r"(?:GOPR|GP\d\d|(G[HXL])\d\d)(\d{4})", re.IGNORECASE | re.ASCII)
_PART = re.compile(
    r"(?:[ _.-]*\(\d{1,4}\)|[ _.-]+(?:clip|part|seg|segment|chunk|scene|shot|cut|c|p|s)[ _.-]?\d{1,5})$",
    re.IGNORECASE | re.ASCII,
)
_NUMBER = re.compile(r"[ _-]\d{1,5}$", re.ASCII)
_DATE = re.compile(r"(?:19|20)\d\d([-_.]?)(?:0\d|1[0-2])\1(?:[0-2]\d|3[01])", re.ASCII)
_TIME = re.compile(r"(?<!\d)[0-2]\d([-_.:h]?)[0-5]\d(?:\1[0-5]\d(?:\d{3})?)?(?!\d)", re.ASCII)
_CALLED_SO = frozenset((
    "img", "image", "dsc", "dscn", "dscf", "mov", "mvi", "movie", "vid", "video", "videos", "clip", "clips",
    "film", "file", "rec", "recording", "record", "cap", "capture", "gopr", "pxl", "wa", "whatsapp",
    "whatsappvideo", "screenrecording", "camera", "cam", "untitled", "output", "sample", "frame", "trim",
))  # fmt: skip
_LEAST_LETTERS = 2
_LEAST_SOURCES = 4
_MOST_SHARE = 0.25
_NEARLY_ALL = 0.8
_COUNTED_CLIPS = 5  # fewer, and they may be the parts of the one recording that there is


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
    whole = [_whole(stem) for stem in stems]
    plain = [_PART.sub("", name).rstrip(" _.-") for name in whole]
    counted = _counted(names, whole, plain, called)
    plain = [name if short.casefold() in counted else short for name, short in zip(whole, plain, strict=True)]
    plain = _without_numbers(plain, called)
    is_part = [name != stem.rstrip(" _.-") and _tells(name, called) for name, stem in zip(plain, stems, strict=True)]
    sources = {name.casefold() for name, part in zip(plain, is_part, strict=True) if part}
    return [name if name.casefold() in sources else "" for name in map(str.casefold, plain)]


def _whole(stem: str) -> str:
    """What a file is called without the endings that are nothing but parts."""
    if chapter := _CHAPTER.fullmatch(stem):
        return f"{chapter[1] or 'GOPR'}{chapter[2]}"
    cut = _CUT.search(stem)
    return stem[: cut.start()].rstrip(" _.-") if cut and cut[1] < cut[2] else stem


def _counted(names: Sequence[str], whole: Sequence[str], plain: Sequence[str], called: Collection[str]) -> set[str]:
    """Names that are the same but for a count of nearly all clips, or of nearly all in each folder of a class."""
    folders = [_letters(name.rpartition("/")[0].rpartition("/")[2]) for name in names]
    sizes, per_folder = Counter(folders), Counter[tuple[str, str]]()
    for folder, long, short in zip(folders, whole, plain, strict=True):
        if short != long:
            per_folder[short.casefold(), folder] += 1
    clips, is_counted = Counter[str](), dict[str, bool]()
    for (name, folder), count in per_folder.items():
        clips[name] += count
        fills = folder in called and count >= _NEARLY_ALL * sizes[folder]
        is_counted[name] = is_counted.get(name, True) and fills
    return {
        name
        for name, count in clips.items()
        if count >= _COUNTED_CLIPS and (is_counted[name] or count >= _NEARLY_ALL * len(names))
    }


def _without_numbers(names: Sequence[str], called: Collection[str]) -> list[str]:
    """Names less a bare number at their end, where those number parts."""
    cut = [name if _says_only_when(name) else _NUMBER.sub("", name) for name in names]
    numbered = [short for short, name in zip(cut, names, strict=True) if short != name and _tells(short, called)]
    counts = Counter(map(str.casefold, numbered))
    if len(counts) < _LEAST_SOURCES or max(counts.values()) > _MOST_SHARE * len(names):
        return list(names)
    return [short if _tells(short, called) else name for short, name in zip(cut, names, strict=True)]


def _tells(name: str, called: Collection[str]) -> bool:
    """Whether a name is long enough to be one, and none of ``called``, the letters of classes, nor what all have."""
    letters = _letters(name)
    return len(letters) >= _LEAST_LETTERS and letters not in called and not _says_only_when(name)


def _says_only_when(name: str) -> bool:
    """Whether nothing but a date, the hour and what cameras call any file is in a name; a second is a recording."""
    without_date = _DATE.sub(" ", name)
    has_date = without_date != name
    has_second = has_date and any(len(_letters(time[0])) >= 6 for time in _TIME.finditer(without_date))
    rest = _letters(_TIME.sub(" ", without_date) if has_date else name)
    return not has_second and (not rest or rest in _CALLED_SO)


def _letters(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
