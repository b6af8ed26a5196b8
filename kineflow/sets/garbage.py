"""What a project's store of media still holds that nobody needs.

Needed is what a set names: one that lies in the project (but in hidden folders), one that a ``dvc.lock`` of the project
names (read from DVC's cache when it is not there), or one whose index a copy in the store tells and that the caller
wants kept, such as that of a registered model. What is known of source videos is kept: it is small, and found by the
videos alone.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kineflow.sets.clip_set import CLIP_FILES, Clip
from kineflow.sets.feature_set import FEATURE_FILES
from kineflow.sets.flow_set import FLOW_FILES
from kineflow.sets.indexed import open_index
from kineflow.sets.media import CLIPS, FEATURES, FLOW, SETS, using
from kineflow.storage.config import read_yaml
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of
from kineflow.storage.project import media_folder
from kineflow.storage.safe_json import read_json

_SET_FILES = (CLIP_FILES, FLOW_FILES, FEATURE_FILES)
SET_INDEX_FILES = tuple(files.index for files in _SET_FILES)
_KINDS = (CLIPS, FLOW, FEATURES, SETS)
_YOUNG_SECONDS = 3600.0
_ABANDONED_SECONDS = 24 * 3600.0  # a file that is being written
_BUSY_REMEDY = "wait until it has ended, then run the same again"

Wanted = Callable[[Sequence[Clip]], bool]
"""Whether the clips of a set, the rejected ones too, are to be kept although nothing else names the set."""


@dataclass(frozen=True)
class Garbage:
    """What :func:`find_garbage` has found.

    Attributes:
        files: Size in bytes of what nobody needs, by path.
        kept: Files that stay, by kind.
        unread: Sets that a ``dvc.lock`` names and that are neither in the project nor in DVC's cache.
    """

    files: Mapping[Path, int]
    kept: Mapping[str, int]
    unread: tuple[str, ...]

    def by_kind(self, store: Path) -> dict[str, tuple[int, int]]:
        """How many files nobody needs, and their bytes, by kind."""
        counts: dict[str, tuple[int, int]] = {}
        for path, size in self.files.items():
            kind = path.relative_to(store).parts[0]
            files, total = counts.get(kind, (0, 0))
            counts[kind] = (files + 1, total + size)
        return counts


def find_garbage(project: Path, *, cache: Path, wanted: Wanted) -> Garbage:
    """Look for media in a project's store that nobody needs; nothing is removed.

    Args:
        project: Its folder.
        cache: DVC's, ``.dvc/cache`` by default.
        wanted: See :data:`Wanted`.

    Raises:
        KineflowError: A set of the project cannot be read.
    """
    store = media_folder(project)
    needed: set[str] = set()
    indices = [*_indices_below(project, store)]
    cached, unread = _locked_indices(project, cache)
    for index in (*indices, *cached):
        needed |= _paths_in(index)
        needed.add(f"{SETS}/{sha256_of(index)}.parquet")
    for copy in sorted((store / SETS).glob("*.parquet")):
        clips = _clips_in(copy)
        if clips is not None and wanted(clips):
            needed |= {f"{SETS}/{copy.name}", *(clip.path for clip in clips)}
    files: dict[Path, int] = {}
    kept: defaultdict[str, int] = defaultdict(int)
    for kind in _KINDS:
        for path, facts in _files_below(store / kind):
            if _may_go(path, facts) and path.relative_to(store).as_posix() not in needed:
                files[path] = facts.st_size
            else:
                kept[kind] += 1
    return Garbage(files, dict(kept), tuple(unread))


def remove_garbage(project: Path, garbage: Garbage, *, cache: Path, wanted: Wanted) -> Garbage:
    """Remove what was found, as far as it is still garbage; the arguments are those of :func:`find_garbage`.

    Returns:
        What is gone.

    Raises:
        KineflowError: A step writes to the store, or DVC runs one; nothing has been removed.
    """
    check_idle(project)
    try:
        with using(media_folder(project), alone=True):
            still = find_garbage(project, cache=cache, wanted=wanted)
            gone = {path: size for path, size in garbage.files.items() if path in still.files}
            for path in gone:
                path.unlink(missing_ok=True)
    except BlockingIOError:
        raise KineflowError("a step writes media at the moment", where=project, remedy=_BUSY_REMEDY) from None
    return Garbage(gone, still.kept, still.unread)


def check_idle(project: Path) -> None:
    """Refuse to go on while DVC runs a stage of the project: what it makes is named nowhere yet.

    Raises:
        KineflowError: It does.
    """
    path = project / ".dvc" / "tmp" / "rwlock"
    try:
        held = json.loads(path.read_text(encoding="utf-8") or "{}")
    except (OSError, ValueError):  # there is none, or half of one that a kill has left
        return
    holders = [*held.get("write", {}).values(), *(each for some in held.get("read", {}).values() for each in some)]
    if running := [holder["pid"] for holder in holders if holder and _is_alive(int(holder["pid"]))]:
        raise KineflowError(f"DVC is at work here (process {running[0]})", where=project, remedy=_BUSY_REMEDY)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _may_go(path: Path, facts: os.stat_result) -> bool:
    """Whether a file is old enough that no step is at it or about to name it."""
    least = _ABANDONED_SECONDS if path.name.startswith(".") else _YOUNG_SECONDS
    return time.time() - facts.st_mtime > least


def _files_below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Plain files; links are neither followed nor given."""
    for below, _, names in os.walk(folder):
        for name in names:
            path = Path(below) / name
            facts = path.lstat()
            if stat.S_ISREG(facts.st_mode):
                yield path, facts


def _indices_below(project: Path, store: Path) -> Iterator[Path]:
    """Indices of the sets that lie in the project, hidden folders and the store left out.

    Scores of a model called ``flow`` lie in a file of an index's name, so that a set is known by both of its files.
    """
    for below, folders, names in os.walk(project):
        folders[:] = [name for name in folders if not name.startswith(".") and Path(below, name) != store]
        yield from (Path(below, files.index) for files in _SET_FILES if {files.index, files.described} <= set(names))


def _locked_indices(project: Path, cache: Path) -> tuple[list[Path], list[str]]:
    """Indices, in DVC's cache, of the sets that the project's locks name; and folders that are not there to look in."""
    indices, unread = [], []
    for lock in (project / "dvc.lock", *sorted((project / "runs").rglob("dvc.lock"))):
        if not lock.is_file():
            continue
        for name, stage in (read_yaml(lock).get("stages") or {}).items():
            for output in stage.get("outs", ()):
                md5 = str(output.get("md5", ""))
                if not md5.endswith(".dir"):
                    continue
                try:
                    listed = read_json(_in_cache(cache, md5))
                except (OSError, ValueError):
                    unread.append(f"{lock.relative_to(project)}: {name}: {output['path']}")
                    continue
                below = [_in_cache(cache, each["md5"]) for each in listed if each["relpath"] in SET_INDEX_FILES]
                indices += [path for path in below if path.is_file()]
                unread += [f"{lock.relative_to(project)}: {name}" for path in below if not path.is_file()]
    return indices, unread


def _in_cache(cache: Path, md5: str) -> Path:
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def _paths_in(index: Path) -> set[str]:
    """The paths that an index names, whatever kind of set it is of."""
    try:
        with open_index(index, texts=["path"]) as table:
            return {path for block in table.blocks({"path": False}, {}) for path in block["path"].unique().to_pylist()}
    except (OSError, ValueError) as error:
        raise KineflowError(
            f"no readable index of a set ({error}), so nobody knows what it needs",
            where=index,
            remedy="remove the set, or write it again",
        ) from None


def _clips_in(copy: Path) -> Sequence[Clip] | None:
    """The clips of a copy of a clip set's index; None where it is of another kind of set."""
    try:
        return CLIP_FILES.rows(copy)
    except (OSError, ValueError, KeyError, TypeError):
        return None
