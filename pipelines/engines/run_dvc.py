"""Run a recipe through DVC: only what changed is done again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from kineflow.storage.disk import full_disk
from kineflow.storage.errors import KineflowError
from pipelines.dag.graph import graph_of
from pipelines.engines.dvc_stages import output_path, write_dvc_files
from pipelines.engines.environment import step_environment
from pipelines.engines.outcome import Outcome
from pipelines.engines.workspace import Workspace

_RUNNING = re.compile(r"^Running stage '(?:.*:)?([^':]+)':")
_SKIPPED = re.compile(r"^Stage '(?:.*:)?([^':]+)' (didn't change, skipping|is cached)")
_FAILED = re.compile(r"^ERROR: failed to reproduce .*, exited with (-?\d+)$")  # the step has said why
_DISK_FULL = re.compile(r"^ERROR: .*\[Errno 28\] ")
# DVC's own progress noise; everything a step prints passes.
_NOISE = re.compile(
    r"^(> python -m components|Generating lock file|Updating lock file|Use `dvc push`|To track the changes"
    r"|\tgit add |To enable auto staging|\tdvc config core.autostage"
    r"|WARNING: Process .* in RWLock-file .* had been killed"
    r"|Data and pipelines are up to date|'.*\.dvc' didn't change, skipping|Verifying data sources in stage:)"
)


def run_dvc(recipe: str, params_file: Path, project: Path, *, force: bool = False) -> Outcome:
    """Bring every stage of a recipe up to date.

    Args:
        recipe: Its name.
        params_file: Checked before anything runs.
        project: Folder of the project.
        force: Do every stage again.

    Raises:
        KineflowError: A parameter is wrong, or a stage failed (its own message has been printed).
        KeyboardInterrupt: Ctrl-C; stages that were finished stay so.
    """
    workspace = Workspace.of(recipe, params_file, project)
    dvc_file = write_dvc_files(recipe, workspace)
    _remove_half_a_lock(project / ".dvc" / "tmp" / "rwlock")
    command = [sys.executable, "-m", "dvc", "repro", *(["--force"] if force else []), str(dvc_file)]
    process = subprocess.Popen(
        command, cwd=project, env=step_environment(project), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    ran: list[str] = []
    failed, disk_is_full = None, False
    try:
        for line in process.stdout or ():
            stage = _RUNNING.match(line)
            if stage:
                ran.append(stage[1])
                sys.stdout.write(f"\n── {stage[1]}\n")
            elif skipped := _SKIPPED.match(line):
                kept = "restored from the cache" if skipped[2] == "is cached" else "up to date"
                sys.stdout.write(f"── {skipped[1]}: {kept}\n")
            elif said := _FAILED.match(line):
                failed = int(said[1])
            elif _DISK_FULL.match(line):  # one line a file
                disk_is_full = True
            elif line.strip() and not _NOISE.match(line):
                sys.stdout.write(line)
            sys.stdout.flush()
        code = process.wait()
    except KeyboardInterrupt:
        process.communicate()  # Ctrl-C reached DVC and the step too; let them put things away, and say it once
        raise
    if code:
        if disk_is_full:
            raise full_disk(project)
        where = ran[-1] if ran else "DVC"
        if failed is not None and failed < 0:
            raise KineflowError(
                f"the run stopped in {where}: it was killed by signal {-failed}",
                remedy="free memory if it took too much (smaller batches, fewer workers); run the same again to go on",
                exit_code=128 - failed,
            )
        raise KineflowError(
            f"the run stopped in {where}",
            remedy="see its message above; run the same again to go on",
            exit_code=failed or 2,
        )
    tasks = graph_of(recipe).tasks
    outputs = {task.name: {o: output_path(workspace, task, o) for o in task.outputs} for task in tasks}
    return Outcome(tuple(ran), outputs)


def _remove_half_a_lock(path: Path) -> None:
    """Remove DVC's list of who reads and writes what, if a full disk or a kill has left half of it."""
    try:
        json.loads(path.read_text(encoding="utf-8") or "{}")
    except FileNotFoundError:
        pass
    except ValueError:
        path.unlink()
