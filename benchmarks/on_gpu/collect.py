"""One JSON of what the parts have left, as ``python -m on_gpu.collect FOLDER FILE``; see ../on_gpu.sh."""

from __future__ import annotations

import datetime
import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from flow_tables.machine import machine
from on_gpu.record import write_json

PARTS = ("install", "tests", "flow", "decoding", "training")


def main(parts: Path, file: Path) -> None:
    content: dict[str, Any] = {
        "machine": machine(),
        "measured": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "parts": {name: _read(ended) for name in PARTS if (ended := parts / f"{name}.ended.json").exists()},
    }
    for name in ("flow", "decoding", "training"):
        figures = parts / f"{name}.json"
        content[name] = _read(figures) if figures.exists() else {}
    report = parts / "tests.xml"
    content["tests"] = _tests(report) if report.exists() else {}
    write_json(file, content)


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


def _tests(report: Path) -> dict[str, Any]:
    """How many passed, failed and were skipped, and what is said of each failure; pytest's own report is trusted."""
    counts, failed = {"passed": 0, "failed": 0, "skipped": 0}, {}
    for case in ElementTree.parse(report).iter("testcase"):
        problem = next((child for child in case if child.tag in ("failure", "error")), None)
        if problem is not None:
            failed[f"{case.get('classname')}::{case.get('name')}"] = (problem.get("message") or "")[:300]
            counts["failed"] += 1
        elif case.find("skipped") is not None:
            counts["skipped"] += 1
        else:
            counts["passed"] += 1
    return {**counts, "failures": failed}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
