"""The flow solvers against the GPU's ceilings, as ``python -m on_gpu.flow FILE [--dry]``; see ../on_gpu.sh."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from flow_tables import gpu
from on_gpu.record import Record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--dry", action="store_true", help="fewer pairs and repeats")
    given = parser.parse_args()
    record = Record(given.file)
    if reason := gpu.not_measured_because():
        record.put("not_measured", reason)
        return
    for table in gpu.tables(quick=given.dry):
        record.append("tables", dataclasses.asdict(table))


if __name__ == "__main__":
    main()
