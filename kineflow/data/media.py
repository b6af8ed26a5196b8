"""Media of a set: files made in a work folder, which lie in the set in the end."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from kineflow.storage.files import atomic_file, inside


def put_in_place(paths: Iterable[str], work: Path, media: Path) -> int:
    """Let the files at ``paths`` below ``work`` lie below ``media`` too, as links where that can be.

    Returns:
        Their size, bytes.

    Raises:
        KineflowError: A path leads outside.
    """
    total = 0
    for path in paths:
        source, target = inside(work, path), inside(media, path)
        total += source.stat().st_size
        if source == target:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.hardlink_to(source)
        except OSError:  # another file system, one without hard links, or a file that others may be reading now
            with atomic_file(target) as partial:
                shutil.copyfile(source, partial)
    return total
