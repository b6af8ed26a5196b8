"""Put carried wheels into a folder, but those of packages that are here already: ``install.py WHEELS FOLDER``."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path


def main(wheels: Path, folder: Path) -> None:
    here = {_plain(found.metadata["Name"]) for found in distributions()}
    wanted = [wheel for wheel in sorted(wheels.glob("*.whl")) if _plain(wheel.name.split("-")[0]) not in here]
    print(f"installing {', '.join(wheel.name for wheel in wanted) or 'nothing'}")
    if wanted:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(folder)]
        subprocess.run([*pip, *map(str, wanted)], check=True)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
