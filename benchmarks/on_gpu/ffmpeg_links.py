"""The FFmpeg that PyAV brings, by the names that torchcodec asks for: ``python -m on_gpu.ffmpeg_links FOLDER``.

A machine needs no other FFmpeg then; the folder goes into LD_LIBRARY_PATH.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

_NAMED = re.compile(r"(lib(?:av|sw)\w+)-[0-9a-f]+(\.so\.\d+)")  # libavcodec-5e6b81c2.so.62.28.102


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    found = importlib.util.find_spec("av")
    if found is None or found.origin is None:
        sys.exit("PyAV is not there")
    for library in sorted((Path(found.origin).parents[1] / "av.libs").iterdir()):
        if name := _NAMED.match(library.name):
            (folder / f"{name[1]}{name[2]}").symlink_to(library)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
