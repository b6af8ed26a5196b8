"""What a run on this machine knows of itself when it ends: for its parent run, which people compare with others."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from components.dvc.workspace_files import KEPT_AS
from kineflow.spec.output_files import METRICS_FILE
from kineflow.storage.files import sha256_of
from kineflow.survey.machine import this_machine
from kineflow.tracking.evaluation_tags import EVALUATION_DIGEST
from kineflow.tracking.parent import ParentRecord
from pipelines.engines.outcome import Outcome
from pipelines.engines.workspace import Workspace
from pipelines.show import result_rows

_PARAMS = "params.yaml"
_PACKAGES = "packages.txt"


def record_of(
    recipe: str, params_file: Path, values: Mapping[str, Any], project: Path, outcome: Outcome | None
) -> ParentRecord:
    """The record of a run, which has ended.

    Args:
        recipe: Its name.
        params_file: Kept as it is.
        values: Its sections, with what they leave out.
        project: Folder of the project.
        outcome: What came out; None of a run that failed.
    """
    workspace = Workspace.of(recipe, params_file, project)
    files = {_PARAMS: params_file, **{kept: workspace.folder / name for name, kept in KEPT_AS.items()}}
    packages = _packages()
    texts = {name: path.read_text(encoding="utf-8") for name, path in files.items() if path.is_file()}
    place = os.path.relpath(workspace.folder, workspace.project)
    tags = {"recipe": recipe, "params": workspace.params, "workspace": place, **_machine()}
    tags["env.packages.sha256"] = hashlib.sha256(packages.encode()).hexdigest()
    if outcome and (evaluation := _evaluation(outcome)):
        tags[EVALUATION_DIGEST] = sha256_of(evaluation / METRICS_FILE)
    return ParentRecord(values, tags, texts | {_PACKAGES: packages}, _description(recipe, workspace.params, outcome))


def _machine() -> dict[str, str]:
    machine = this_machine()
    return {
        "env.cpu": _cpu_name(),
        "env.cores": str(machine.cores),
        **({"env.gpu": machine.gpu} if machine.gpu else {}),
    }


def _cpu_name() -> str:
    """As the system calls the processor; Python's own word is empty on many a Linux."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _packages() -> str:
    """All that is installed, ``name==version`` a line."""
    found = {f"{each.metadata['Name']}=={each.version}" for each in metadata.distributions() if each.metadata["Name"]}
    return "".join(f"{line}\n" for line in sorted(found, key=str.casefold))


def _description(recipe: str, params: str, outcome: Outcome | None) -> str:
    """Markdown: what ran, with what result, and what was registered."""
    lines = [f"`kineflow run {recipe} --params {params}`"]
    if outcome is None:
        return "\n".join([*lines, "", "It did not come to its end; the failed step says why."])
    if evaluation := _evaluation(outcome):
        lines += ["", *_results(json.loads((evaluation / METRICS_FILE).read_text(encoding="utf-8")))]
    registered = outcome.outputs.get("register", {}).get("registration")
    if registered and registered.is_file():
        what = json.loads(registered.read_text(encoding="utf-8"))
        version = f"version {what['version']}" if "version" in what else "nothing: see the step register"
        lines += ["", f"Registered as **{what['name']}**: {version}."]
    return "\n".join([*lines, "", f"Done by this run: {', '.join(outcome.ran) or 'nothing, all was up to date'}."])


def _evaluation(outcome: Outcome) -> Path | None:
    """Folder of the evaluation, where the recipe has one and it came out."""
    folders = [outputs["evaluation"] for outputs in outcome.outputs.values() if "evaluation" in outputs]
    return next((folder for folder in folders if (folder / METRICS_FILE).is_file()), None)


def _results(metrics: Mapping[str, Any]) -> list[str]:
    headings, rows = result_rows(metrics)
    data = metrics["data"]
    table = [headings, ["---"] * len(headings), *rows]
    return [
        f"{data['clips']} clips of `{data['split']}`:",
        "",
        *(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in table),
    ]
