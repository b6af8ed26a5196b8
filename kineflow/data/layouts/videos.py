"""From what a list calls a video to the file that is meant, or to why there is none.

Lists of published data sets know neither the folder a user has put the videos into nor the suffix they were converted
to. So a listed name is looked for in this order, and taken only where a single file answers to it:

1. the very path;
2. the same path below any folder: ``UCF-101/run/02.avi`` for ``run/02.avi``;
3. the same with another suffix: ``UCF-101/run/02.mp4``;
4. the same name without suffix anywhere, unless that is in the folder of another class.

Letters that Unicode can write in several ways (``é`` in one character or two: NFC and NFD) are the same letters.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from posixpath import splitext

from kineflow.storage.media import is_remote
from kineflow.storage.names import shown

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp")
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class FoundVideo:
    """Where a listed video is.

    Attributes:
        source: Its name in the source; as it was listed, where it is not there.
        missing: Why it is not, in a phrase; empty where nothing more is known, and where it is there.
        is_there: Whether it is.
    """

    source: str
    missing: str = ""
    is_there: bool = True


@dataclass(frozen=True)
class Videos:
    """The files of a source, found by what a list calls them.

    Attributes:
        names: Of all files.
        root: Of the source, as a user writes it; paths may begin with it. Empty where it is not known.
    """

    names: frozenset[str]
    root: str = ""
    by_path: Mapping[str, list[str]] = field(default_factory=dict, repr=False)

    @classmethod
    def among(cls, names: Iterable[str], *, root: str = "") -> Videos:
        """Index the names of a source."""
        present = frozenset(names)
        by_path: dict[str, list[str]] = {}
        for name in sorted(present):
            by_path.setdefault(_path_key(name), []).append(name)
        return cls(present, root, by_path)

    @cached_property
    def _by_stem(self) -> Mapping[str, list[str]]:
        """Videos by their file name without suffix."""
        by_stem: dict[str, list[str]] = {}
        for name in sorted(self.names):
            path, suffix = splitext(_path_key(name))
            if suffix.lower() in VIDEO_SUFFIXES:
                by_stem.setdefault(path.rpartition("/")[2], []).append(name)
        return by_stem

    def at(self, listed: str) -> FoundVideo:
        """The file at the very path that is listed."""
        alike = self.by_path.get(_path_key(listed), [])
        matches = [name for name in alike if _composed(name) == _composed(listed)] or alike
        if len(matches) > 1:
            problem = f"{_several(matches)} differ only in how Unicode or slashes are written: rename one"
            return FoundVideo(listed, problem, is_there=False)
        return FoundVideo(matches[0]) if matches else FoundVideo(listed, is_there=False)

    def find(self, listed: str, *, label: str, classes: frozenset[str]) -> FoundVideo:
        """The file that is meant by ``listed``, in the order of the module's picture.

        Args:
            listed: Relative path.
            label: Class of the clip; empty where it has none, and may lie in any folder.
            classes: All classes of the data set.
        """
        exact = self.at(listed)
        if exact.is_there or exact.missing:
            return exact
        wanted, suffix = splitext(_path_key(listed))
        named = self._by_stem.get(wanted.rpartition("/")[2], [])
        alike = [name for name in named if f"/{splitext(_path_key(name))[0]}".endswith(f"/{wanted}")]
        same = [name for name in alike if splitext(name)[1] == suffix]
        matches = self._distinct(same or alike or named)
        if len(matches) > 1:
            return FoundVideo(listed, f"{_several(matches)} may be meant", is_there=False)
        if matches and label and (other := _class_of(matches[0], classes)) and other != _class_key(label):
            return FoundVideo(
                listed, f"{shown(matches[0])} has its name, but lies in another class's folder", is_there=False
            )
        return FoundVideo(matches[0]) if matches else exact

    def _distinct(self, names: list[str]) -> list[str]:
        """One name of each file, without links where it has such a one: links below a local root give some several."""
        if len(names) < 2 or not self.root or is_remote(self.root):
            return names
        root, name_of = os.path.realpath(self.root), dict[str, str]()
        for name in names:
            real = os.path.realpath(Path(root, name))
            if real not in name_of or real == f"{root}/{name}":
                name_of[real] = name
        return list(name_of.values())


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _path_key(name: str) -> str:
    return re.sub(r"/(\.?/)+", "/", _composed(name))


def _class_of(name: str, classes: frozenset[str]) -> str:
    """Key of the class in whose folder a file lies: the nearest folder that is called as a class; empty where none."""
    known = _class_keys(classes)
    folders = (_class_key(part) for part in reversed(name.split("/")[:-1]))
    return next((key for key in folders if key in known), "")


@lru_cache(maxsize=4)
def _class_keys(classes: frozenset[str]) -> frozenset[str]:
    return frozenset(map(_class_key, classes))


@lru_cache(maxsize=10_000)
def _class_key(label: str) -> str:
    """Class names as folders are called after them: upper or lower case, with ``_`` or ``-`` for blanks."""
    return re.sub(r"[\s_-]+", " ", _composed(label).casefold()).strip()


def _several(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(shown, names[:_SHOWN])) + more
