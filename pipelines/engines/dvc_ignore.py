"""What DVC cannot read among the sources of a run, named in ``.dvcignore`` so that it does not try.

DVC opens every file below a source to hash it. A link to nowhere, a file that may not be read or a name that is not
UTF-8 ends the run there, and a pipe never lets it end; the step that reads the source takes each for what it is.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file
from kineflow.storage.names import is_utf8, printable

IGNORE_FILE = ".dvcignore"
_LOG = logging.getLogger(__name__)
_BEGIN = "# Files that DVC cannot read, by `kineflow run`; do not edit what is between these lines.\n"
_END = "# End of files that DVC cannot read.\n"
_BLOCK = re.compile(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", re.DOTALL)
_SHOWN = 3


def ignore_unreadable(project: Path, sources: Iterable[Path]) -> list[str]:
    """Let ``.dvcignore`` of a project name what cannot be read below its sources, and nothing that can be again.

    Args:
        project: Its folder.
        sources: Files and folders that a run reads.

    Returns:
        What is ignored, relative to the project.

    Raises:
        KineflowError: Such a file lies outside of the project, where ``.dvcignore`` does not hold.
    """
    unreadable = sorted({path for source in sources if source.is_dir() for path in _unreadable(source)})
    outside = [path for path in unreadable if not path.is_relative_to(project)]
    if outside:
        raise KineflowError(
            f"DVC cannot read {_named(map(str, outside))}",
            where=outside[0].parent,
            remedy="mend or remove them: outside of the project, DVC cannot be told to leave them out",
        )
    names = [path.relative_to(project).as_posix() for path in unreadable]
    _write_block(project / IGNORE_FILE, names)
    if names:
        _LOG.warning("%s names what cannot be read: %s", IGNORE_FILE, _named(names))
    return names


def _unreadable(folder: Path) -> Iterator[Path]:
    """What below a folder is no plain file that can be opened, or a folder that cannot be; links are not followed."""
    for here, folders, files in os.walk(folder):
        shut = {name for name in folders if not (is_utf8(name) and os.access(Path(here, name), os.R_OK | os.X_OK))}
        folders[:] = [name for name in folders if name not in shut]
        yield from (Path(here, name) for name in shut)
        yield from (Path(here, name) for name in files if not (is_utf8(name) and _is_readable(Path(here, name))))


def _is_readable(path: Path) -> bool:
    try:
        return path.is_file() and os.access(path, os.R_OK)
    except OSError:  # in a folder that may be listed and not entered
        return False


def _write_block(file: Path, names: list[str]) -> None:
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    rest = _BLOCK.sub("", text)
    block = f"{_BEGIN}{''.join(f'/{_pattern(name)}{chr(10)}' for name in names)}{_END}" if names else ""
    new = rest + ("\n" if rest and not rest.endswith("\n") and block else "") + block
    if new != text:
        with atomic_file(file) as partial:
            partial.write_text(new, encoding="utf-8")


def _pattern(name: str) -> str:
    """A name as a pattern of ``.dvcignore``; what no line of it can hold, a blank at its end too, may be any letter."""
    trailing = len(name) - len(name.rstrip())
    escaped = re.sub(r"([\\*?\[\]!# ])", r"\\\1", name.rstrip()) + "?" * trailing
    return re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]", "?", escaped)


def _named(names: Iterable[str]) -> str:
    every = list(map(printable, names))
    return ", ".join(every[:_SHOWN]) + (f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else "")
