"""What lies below a folder, links and odd things among it; nothing that is no plain file is ever opened.

A link may lead to anything within the folder, and into the folders that the user has named for it
(``ingestion.linked_folders``); a project's own DVC cache is such a folder too, for DVC can put its files in place as
links. Where a link leads elsewhere, it is said, and the file is not read: a set of videos from somebody else could
otherwise hold links to any file of this machine.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kineflow.storage.errors import KineflowError
from kineflow.storage.names import is_utf8, printable, shown
from kineflow.storage.project import find_project

_MOST_FILES = 5_000_000  # and folders of a source; also ends a walk through links that multiply
_SHOWN = 3
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)


@dataclass
class Walked:
    """What was found below a folder.

    Attributes:
        names: Of all that is no folder, below it, with ``/``, sorted. Some may be links to nowhere, or no plain files.
        remarks: What was left out and why, a line a kind.
    """

    names: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Folder:
    """One folder on the way: its name below the root (empty, or ending with ``/``), and where links had it lead.

    Attributes:
        below: Its name.
        real: Its path without links.
        holders: Real paths of the folders that hold the links by which it was reached.
    """

    below: str
    real: str
    holders: tuple[str, ...] = ()

    def is_round(self, target: str) -> bool:
        """Whether a link from here to ``target`` would lead round in a circle."""
        return any(_within(holder, target) for holder in (self.real, *self.holders))


def folders_for_links(folder: Path, linked: Iterable[Path]) -> tuple[Path, ...]:
    """All that links below ``folder`` may lead into, as real paths: itself, ``linked``, and its project's DVC cache."""
    project = find_project(folder.absolute())
    cache = [project / ".dvc" / "cache"] if project else []
    return tuple(Path(os.path.realpath(path)) for path in (folder, *linked, *cache))


def walk_folder(folder: Path, may_hold: Sequence[Path]) -> Walked:
    """List what is below a folder; names that begin with a dot are left out.

    Args:
        folder: The root.
        may_hold: See :func:`folders_for_links`.

    Raises:
        KineflowError: The folder itself may not be read, or has more than five million files and folders.
    """
    walked = Walked()
    unreadable: list[str] = []
    elsewhere: list[str] = []
    garbled: list[str] = []
    pending = [_Folder("", os.path.realpath(folder))]
    folders = 0
    while pending:
        here = pending.pop()
        folders += 1
        try:
            with os.scandir(folder / here.below) as listing:
                entries = list(listing)
        except OSError as error:
            if not here.below:
                raise KineflowError(
                    f"the folder may not be read ({error.strerror})", where=folder, remedy="give yourself access to it"
                ) from None
            unreadable.append(f"{here.below} ({error.strerror})")
            continue
        for entry in entries:
            name = here.below + entry.name
            if entry.name.startswith("."):
                continue
            if not is_utf8(entry.name):
                garbled.append(name)
            elif entry.is_dir(follow_symlinks=False):
                pending.append(_Folder(f"{name}/", f"{here.real}/{entry.name}", here.holders))
            elif entry.is_symlink() and _is_folder(entry):
                target = os.path.realpath(entry.path)
                if not _is_allowed(target, may_hold):
                    elsewhere.append(f"{name} → {target}")
                elif not here.is_round(target):
                    pending.append(_Folder(f"{name}/", target, (*here.holders, here.real)))
            else:
                walked.names.append(name)
        if len(walked.names) + folders > _MOST_FILES:
            raise KineflowError(
                f"more than {_MOST_FILES:,} files and folders",
                where=folder,
                remedy="name the folder of the videos in ingestion.source; a link in it may multiply others",
            )
    walked.names.sort()
    for what, left_out in (
        ("folders that may not be read, and what is in them is left out", unreadable),
        ("names that are not UTF-8, so that no list can hold them (rename the files)", garbled),
        (
            "links to folders outside of the source, which are not followed (to follow one, add its target to "
            "ingestion.linked_folders, as {path: …})",
            elsewhere,
        ),
    ):
        if left_out:
            more = f" and {len(left_out) - _SHOWN} more" if len(left_out) > _SHOWN else ""
            walked.remarks.append(f"{what}: {', '.join(map(printable, sorted(left_out)[:_SHOWN]))}{more}")
    return walked


def usable_file(folder: Path, name: str, may_hold: Sequence[Path]) -> Path:
    """The real path of a file that can be read now.

    Args:
        folder: The root.
        name: Below it, relative, without ``..``.
        may_hold: See :func:`folders_for_links`.

    Raises:
        FileNotFoundError: There is none of this name.
        KineflowError: It leads outside, leads nowhere, is no plain file, or may not be read.
    """
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise KineflowError(
            f"path {shown(name)} leads outside its root",
            where=folder,
            remedy="list only files below the root folder, with relative paths and no '..'",
        )
    try:
        real = os.path.realpath(path, strict=True)
        if not _is_allowed(real, may_hold):
            raise KineflowError(_outside(folder, name, real), where=path, remedy="or put the file itself there")
        mode = Path(real).stat().st_mode
        if not stat.S_ISREG(mode):
            what = next((words for holds, words in _KINDS if holds(mode)), "no plain file")
            raise KineflowError(f"{what}, not a file", where=path, remedy="name a file")
        os.close(os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except ValueError:  # a null byte
        raise FileNotFoundError(name) from None
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError) and not _link_on(folder, name):
            raise FileNotFoundError(name) from None
        raise KineflowError(_unreadable(folder, name, error), where=path, remedy="mend or remove it") from None
    return Path(real)


def _outside(folder: Path, name: str, real: str) -> str:
    link = _link_on(folder, name)
    if not link:
        return f"lies at {shown(real)}, outside of the source"
    target = Path(os.path.realpath(folder / link))
    holder = target if target.is_dir() else target.parent
    whole = "a link" if link == name else f"{shown(link)} is a link"
    return (
        f"{whole} to {shown(str(target))}, outside of the source; "
        f"to follow it, add {{path: {printable(str(holder))}}} to ingestion.linked_folders"
    )


def _unreadable(folder: Path, name: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        link = _link_on(folder, name)
        whole = "a link" if link == name else f"{shown(link)} is a link"
        return f"{whole} to {shown(str((folder / link).readlink()))}, and there is no such file"
    return f"may not be read ({error.strerror})"


def _link_on(folder: Path, name: str) -> str:
    """The first part of the way to ``name`` that is a link, as a name below ``folder``; empty where none is."""
    parts = Path(name).parts
    ways = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
    return next((way for way in ways if (folder / way).is_symlink()), "")


def _is_allowed(real: str, may_hold: Iterable[Path]) -> bool:
    return any(_within(real, str(root)) for root in may_hold)


def _is_folder(link: os.DirEntry[str]) -> bool:
    try:
        return link.is_dir()
    except OSError:  # links in a circle, or into a folder that may not be read
        return False


def _within(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")
