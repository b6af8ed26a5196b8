"""UCF101, Kinetics-400 and a thousand times that: bytes, hours, requests, rows, and what breaks first.

Run it as ``python benchmarks/scale.py [--quick] [--only PART …] [--recorded] [--save FILE]``.

It measures on this machine what a clip, a file, a start and a run cost, and works the tables of ``docs/scale.md`` out
of that: fifteen minutes on two cores, five with ``--quick`` (smaller sizes, fewer clips). ``--recorded`` measures
nothing and takes the figures that the document was made of. Real clips are looked for in ../shared/data. Tables go to
stdout as Markdown, progress to stderr.
"""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scale_model.figures import RECORDED, Figures

MEASURED = ("media", "index", "starts", "dvc", "s3", "ranges", "tracking", "networks", "package")


def measure(names: Sequence[str], quick: bool) -> Figures:
    """Figures of this machine; those of parts that are not among ``names`` are the recorded ones."""
    from flow_tables.machine import machine

    found: dict[str, Any] = {} if set(names) == set(MEASURED) else vars(Figures.load())
    found.pop("machine", None)
    for name in names:
        part = importlib.import_module(f"scale_model.measuring.{name}").measure(quick)
        found |= part if isinstance(part, dict) else {name: part}
    return Figures(machine=machine(), **found)


def main() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer clips: figures are rougher")
    parser.add_argument("--only", choices=MEASURED, action="append", help="measure this part; the others as recorded")
    parser.add_argument("--recorded", action="store_true", help=f"measure nothing, read {RECORDED.name}")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the figures here, as JSON")
    given = parser.parse_args()
    figures = Figures.load() if given.recorded else measure(given.only or MEASURED, given.quick)
    if given.save:
        figures.save(given.save)
    from scale_model.tables import tables

    print(tables(figures), flush=True)


if __name__ == "__main__":
    main()
