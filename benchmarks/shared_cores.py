"""A small training on a CPU, by how its threads wait and what it does with freed memory.

Run it as ``python benchmarks/shared_cores.py`` on a quiet machine. The demo's plain network is trained for some steps
in each form, in turn, three times over; medians of steps a second and of CPU seconds. Runs use the last form.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from flow_tables.layout import markdown

from components.ingest import ingest
from components.pretrain import pretrain
from kineflow.data.ingest_settings import IngestSettings
from kineflow.models.pretrain_settings import PretrainSettings
from kineflow.synth.dataset import make_dataset
from kineflow.synth.spec import SynthSpec

ROOT = Path(__file__).resolve().parent.parent
GIVEN_BACK = {"MALLOC_ARENA_TEST": "8"}  # glibc's default; any such setting leaves memory to the user
SLEEP, SPIN_BRIEFLY = {"OMP_WAIT_POLICY": "passive"}, {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "4000"}
FORMS = {
    "sleep, memory given back": SLEEP | GIVEN_BACK,
    "sleep, memory kept": SLEEP,
    "spin for milliseconds, memory kept": {},
    "spin briefly, memory kept": SPIN_BRIEFLY,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        arguments = _prepare(Path(folder), asked.steps)
        found: dict[str, list[tuple[float, float]]] = {form: [] for form in FORMS}
        for _ in range(asked.repeats):
            for form, settings in FORMS.items():
                found[form].append(_train(arguments, settings))
    rows = [
        [form, *(f"{statistics.median(values):.1f}" for values in zip(*figures, strict=True))]
        for form, figures in found.items()
    ]
    print(markdown("A small training", ["threads that wait", "steps a second", "CPU seconds"], rows))


def _prepare(folder: Path, steps: int) -> list[str]:
    """Make the demo's clips, and the arguments of a training of that many steps."""
    demo = yaml.safe_load((ROOT / "params.yaml").read_text())
    make_dataset(folder / "data", SynthSpec(), seed=1)
    settings = IngestSettings(**demo["ingestion"] | {"source": str(folder / "data")})
    ingest(clips=folder / "clips", params=settings, seed=1)
    initial = PretrainSettings(**demo["network"])
    pretrain(rgb=folder / "rgb", flow=folder / "flow", params=initial, seed=1)
    section = demo["student"] | {"steps": steps, "validate_every_steps": steps}
    (folder / "params.yaml").write_text(yaml.safe_dump({"student": section}))
    paths = {"clips": "clips", "initial": "rgb", "model": "model", "metrics": "metrics.json"}
    given = [text for name, path in paths.items() for text in (f"--{name}", str(folder / path))]
    return [*given, "--params", f"{folder}/params.yaml:student", "--seed", "1", "--name", "plain"]


def _train(arguments: list[str], settings: dict[str, str]) -> tuple[float, float]:
    """Steps a second, and CPU seconds of the whole command."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "MALLOC_"))}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "components.train", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=own | settings, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    rate = re.findall(r"([\d.]+) steps/s", done.stderr + done.stdout)[-1]
    return float(rate), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
