"""Every figure that Kineflow states about reading and storing videos, measured again.

Run it as ``python benchmarks/video.py [TABLE …] [--quick]``.

Tables go to stdout as Markdown, progress to stderr. Real clips are looked for in ../shared/data/clips. Times are CPU
time of this process with one thread, medians; forms take turns in one run, and files are in the page cache.
"""

from __future__ import annotations

import argparse
import importlib

TABLES = {
    "nvdec": "decoding on a GPU, as far as a CPU can tell: colours, and what is left to the CPU",
    "parts": "parts of a long video, and ingesting beside decoding and encoding once",
    "reading": "training samples beside torchcodec and decord",
    "storing": "bytes, error and CPU time of ways to store clips",
    "windows": "what a test makes of decoded frames, beside windows in float32",
}


def main() -> None:
    shown = "; ".join(f"{name}: {what}" for name, what in TABLES.items())
    parser = argparse.ArgumentParser(description="Measure reading and storing videos.", epilog=shown)
    parser.add_argument("tables", nargs="*", choices=[*TABLES, []], metavar="TABLE", help="by default all of them")
    parser.add_argument("--quick", action="store_true", help="fewer clips, fewer repeats")
    given = parser.parse_args()
    for name in given.tables or TABLES:
        print(importlib.import_module(f"video_tables.{name}").table(given.quick), flush=True)


if __name__ == "__main__":
    main()
