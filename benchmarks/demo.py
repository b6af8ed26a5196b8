"""The demo's table over several seeds: means, and how far seeds lie apart.

Run it as ``python benchmarks/demo.py [FOLDER] [--seeds 1 2 3]``; about ten minutes a seed on two cores. The videos are
the demo's own, rendered once; seeds are those of weights, batches and splits. FOLDER becomes a project and keeps
everything, so that a second call trains what is missing only; a temporary folder by default.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from flow_tables.layout import markdown

from kineflow.spec.output_files import METRICS_FILE, RESERVED_METRICS
from pipelines.engines.workspace import Workspace

RECIPE = "d3d"


def kineflow(project: Path, *arguments: str) -> None:
    environment = {**os.environ, "KINEFLOW_PROJECT": str(project)}
    subprocess.run([sys.executable, "-m", "pipelines.cli", *arguments], cwd=project, env=environment, check=True)


def top1(project: Path, seed: int) -> dict[str, float]:
    """Top-1 accuracy of every model and fusion in a run with ``seed``."""
    params = yaml.safe_load((project / "params.yaml").read_text())
    file = project / f"seed{seed}.yaml"
    file.write_text(yaml.safe_dump({**params, "seed": seed}))
    kineflow(project, "run", RECIPE, "--params", str(file))
    outputs = Workspace.of(RECIPE, file, project).outputs
    metrics = json.loads((outputs / "evaluate" / "evaluation" / METRICS_FILE).read_text())
    models = {name: figures for name, figures in metrics.items() if name not in RESERVED_METRICS}
    return {name: figures["top1"] for name, figures in (models | metrics["fusion"]).items()}


def table(found: list[dict[str, float]]) -> str:
    """Markdown: a row a model, mean and standard deviation in points, and the least and greatest."""
    rows = []
    for name in found[0]:
        percents = [100 * figures[name] for figures in found]
        spread = f"{min(percents):.1f} – {max(percents):.1f}"
        deviation = f"{statistics.stdev(percents):.1f}" if len(percents) > 1 else ""
        rows.append([name, f"{statistics.mean(percents):.1f}", deviation, spread])
    return markdown("The demo", ["model", "mean top-1, %", "s.d.", "least – greatest"], rows, f"{len(found)} seeds.")


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
        print(table([top1(project, seed) for seed in given.seeds]), flush=True)


if __name__ == "__main__":
    main()
