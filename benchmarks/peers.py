"""Packages to be measured against: installed beside Kineflow's own, into a folder that nothing else uses."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path


def import_from(folder: Path | None, *requirements: str) -> None:
    """Make pinned packages importable, without what they depend on; ``folder`` keeps them for the next time."""
    folder = folder or Path(tempfile.mkdtemp(prefix="peers-"))
    missing = [name for name in requirements if not (folder / f".{name}").exists()]
    if missing:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
        subprocess.run([*pip, *missing], check=True, stdout=sys.stderr)
        for name in missing:
            (folder / f".{name}").touch()
    sys.path.append(str(folder))
