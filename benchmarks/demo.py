"""The demo's table over several seeds: means, and how far seeds lie apart.

Run it as ``python benchmarks/demo.py [FOLDER] [--seeds 1 2 3]``; about ten minutes a seed on two cores. The videos are
the demo's own, rendered once; seeds are those of weights, batches and splits. FOLDER becomes a project and keeps
everything, so that a second call trains what is missing only; a temporary folder by default.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from flow_tables.layout import markdown

RECIPE = "d3d"


def kineflow(project: Path, *arguments: str, answers: bool = False) -> str:
    """What a command of a project answers on standard output, where it is asked for."""
    environment = {**os.environ, "KINEFLOW_PROJECT": str(project)}
    command = [sys.executable, "-m", "pipelines.cli", *arguments]
    stdout = subprocess.PIPE if answers else None
    return subprocess.run(command, cwd=project, env=environment, check=True, text=True, stdout=stdout).stdout


def table(evaluation: dict[str, Any]) -> str:
    """Markdown: a row a model, mean and standard deviation in points, and the least and greatest."""
    rows = []
    for row in evaluation["rows"]:
        top1 = row["figures"]["top1"]
        percents = [100 * value for value in top1["values"]]
        deviation = "" if top1["deviation"] is None else f"{100 * top1['deviation']:.1f}"
        spread = f"{min(percents):.1f} – {max(percents):.1f}"
        rows.append([row["name"], f"{100 * top1['mean']:.1f}", deviation, spread])
    headings = ["model", "mean top-1, %", "s.d.", "least – greatest"]
    return markdown("The demo", headings, rows, f"{evaluation['runs']} seeds.")


def main() -> None:
    parser = argparse.ArgumentParser(description="The demo's table over several seeds.")
    parser.add_argument("folder", nargs="?", type=Path, help="of the project; a temporary one by default")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], metavar="SEED")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        project = (given.folder or Path(temporary)).resolve()
        if not (project / "params.yaml").is_file():
            project.mkdir(parents=True, exist_ok=True)
            kineflow(project, "init")
        if not (project / "data").is_dir():
            kineflow(project, "synth", "data", "--seed", "1")
        seeds = ",".join(map(str, given.seeds))
        report = json.loads(kineflow(project, "run", RECIPE, "--seeds", seeds, "--json", answers=True))
        print(table(report["evaluations"]["evaluate"]), flush=True)


if __name__ == "__main__":
    main()
