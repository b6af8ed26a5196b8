"""How long each step takes to start: ``python benchmarks/step_startup.py [--image NAME] [--repeats N] [STEP …]``.

Two figures a step, each the median of several fresh processes, as CPU and as wall time: its command's ``--help``, which
is what a mistake in the parameters costs; and all that its work imports, which is what each task of a pipeline costs
before it works. A tracked step imports MLflow's client too, which has a row of its own. With ``--image`` each process
has a container of its own, and the time that Docker takes is in the wall time. The first process of each kind, which
reads the files from disk, is not counted.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

from flow_tables.layout import markdown

ROOT = Path(__file__).resolve().parents[1]
STEPS = sorted(path.stem for path in (ROOT / "components").glob("*.py") if path.stem != "__init__")

# A step's imports lie inside its functions, so that they are read from its source; those of ours import the rest.
IMPORTS = """
import ast, importlib, sys
source = importlib.import_module(f"components.{sys.argv[1]}").__file__
for node in ast.walk(ast.parse(open(source).read())):
    if isinstance(node, ast.ImportFrom):
        importlib.import_module(node.module)
    elif isinstance(node, ast.Import):
        for name in node.names:
            importlib.import_module(name.name)
"""
HELP = """
from components.frontend.command import command
from components.frontend.contract import load_step
command(load_step(f"components.{sys.argv[1]}"), ["--help"])
"""
IMPORT_TRACKING = "from kineflow.tracking import runs\nfrom mlflow import MlflowClient"
SAY = """
import atexit, sys, time
def say():
    heavy = [name for name in ("torch", "mlflow", "great_expectations") if name in sys.modules]
    print(f"CPU {time.process_time():.3f} heavy {','.join(heavy)}.", file=sys.stderr)
atexit.register(say)
"""
SAID = re.compile(r"CPU ([\d.]+) heavy ([\w,]*)\.")
AS_A_STEP = ("--read-only", "--tmpfs", "/tmp:exec", "--network", "none", "--cap-drop", "ALL")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("steps", nargs="*", metavar="STEP", help="all by default")
    parser.add_argument("--image", help="run in containers of this image")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    start = [sys.executable]
    if given.image:
        start = ["docker", "run", "--rm", *AS_A_STEP, given.image, "python3"]
    where = f"in containers of {given.image}" if given.image else "as processes"
    rows = []
    for step in given.steps or STEPS:
        help_cpu, help_wall, _ = measure([*start, "-c", SAY + HELP, step], given.repeats)
        cpu, wall, heavy = measure([*start, "-c", SAY + IMPORTS, step], given.repeats)
        rows.append([step, *(f"{value:.2f}" for value in (help_cpu, help_wall, cpu, wall)), heavy.replace(",", ", ")])
    cpu, wall, heavy = measure([*start, "-c", SAY + IMPORT_TRACKING], given.repeats)
    rows.append(["(tracking)", "", "", f"{cpu:.2f}", f"{wall:.2f}", heavy.replace(",", ", ")])
    title = f"Start of each step {where}: seconds, medians of {given.repeats}"
    print(markdown(title, ["step", "--help: CPU", "wall", "imports: CPU", "wall", "heavy ones"], rows))


def measure(command: list[str], repeats: int) -> tuple[float, float, str]:
    """Median seconds of CPU and of wall time of a command, and which heavy packages it has imported."""
    taken, heavy = [], ""
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        wall = time.perf_counter() - begun
        said = SAID.search(done.stderr)
        if said is None:
            raise RuntimeError(f"no figures: {done.stderr}")
        taken.append((float(said[1]), wall))
        heavy = said[2]
    cpus, walls = zip(*taken[1:], strict=True)
    return statistics.median(cpus), statistics.median(walls), heavy


if __name__ == "__main__":
    main()
