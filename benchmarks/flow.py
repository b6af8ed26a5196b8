"""Every figure that Kineflow states about optical flow, measured again.

Run it as ``python benchmarks/flow.py [TABLE …] [--quick]``.

Tables go to stdout as Markdown, progress to stderr. Real clips and film are looked for in ../shared/data; without them
rendered clips stand in where that makes sense, and a table says so.
"""

from __future__ import annotations

import argparse
import importlib

TABLES = {
    "accuracy": "end-point error, and the difference to OpenCV 5",
    "cpu": "CPU time beside OpenCV 5",
    "pareto": "error against CPU time: the presets, and OpenCV's methods",
    "gpu": "pairs a second on a GPU, against its ceilings",
    "warped": "what camera motion is left in warped flow",
    "storage": "bytes, error and read rate of ways to store flow",
    "step": "the extraction step from video to stored flow",
}


def main() -> None:
    shown = "; ".join(f"{name}: {what}" for name, what in TABLES.items())
    parser = argparse.ArgumentParser(description="Measure optical flow.", epilog=shown)
    parser.add_argument("tables", nargs="*", choices=[*TABLES, []], metavar="TABLE", help="by default all of them")
    parser.add_argument("--quick", action="store_true", help="a minute in all: fewer pairs, fewer repeats")
    given = parser.parse_args()
    for name in given.tables or TABLES:
        print(importlib.import_module(f"flow_tables.{name}").table(given.quick), flush=True)


if __name__ == "__main__":
    main()
