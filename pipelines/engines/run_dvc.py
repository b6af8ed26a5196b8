"""Run a recipe through DVC: only what changed is done again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kineflow.storage.disk import full_disk
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import KEEP_WORK, discard_work
from kineflow.tracking.run_variables import RUN_ID
from pipelines.dag.params import graph_for
from pipelines.engines.dvc_stages import output_path, write_dvc_files
from pipelines.engines.environment import step_environment
from pipelines.engines.outcome import Outcome
from pipelines.engines.process_tree import ProcessTree
from pipelines.engines.run_lock import run_lock
from pipelines.engines.workspace import Workspace

_RUNNING = re.compile(r"^Running stage '(?:.*:)?([^':]+)':")
_SKIPPED = re.compile(r"^Stage '(?:.*:)?([^':]+)' (didn't change, skipping|is cached)")
_FAILED = re.compile(r"^ERROR: failed to reproduce .*, exited with (-?\d+)$")  # the step has said why
_DISK_FULL = re.compile(r"^ERROR: .*\[Errno 28\] ")
# DVC's own progress noise; everything a step prints passes.
_NOISE = re.compile(
    r"^(> python -m |Generating lock file|Updating lock file|Use `dvc push`|To track the changes"
    r"|\tgit add |To enable auto staging|\tdvc config core.autostage"
    r"|WARNING: Process .* in RWLock-file .* had been killed"
    r"|Data and pipelines are up to date|'.*\.dvc' didn't change, skipping|Verifying data sources in stage:)"
)
_ON_SIGNAL = 128  # a shell's exit codes above it stand for signals
_STOPPED_BY_HAND = (1, 2, 15)  # SIGHUP, SIGINT, SIGTERM


def run_dvc(recipe: str, params_file: Path, project: Path, *, force: bool = False) -> Outcome:
    """Bring every stage of a recipe up to date.

    Another run of the project is waited for. All processes of the run have ended when this returns or raises.

    Args:
        recipe: Its name.
        params_file: Checked before anything runs.
        project: Folder of the project.
        force: Do every stage again.

    Raises:
        KineflowError: A parameter is wrong, or a stage failed (its own message has been printed).
        KeyboardInterrupt: Ctrl-C, or SIGTERM; stages that were finished stay so.
    """
    workspace = Workspace.of(recipe, params_file, project)
    tasks = graph_for(recipe, params_file).tasks
    outputs = {task.name: {o: output_path(workspace, task, o) for o in task.outputs} for task in tasks}
    with run_lock(project, recipe, os.environ.get(RUN_ID) or uuid.uuid4().hex) as lifeline:
        dvc_file = write_dvc_files(recipe, workspace)
        command = [sys.executable, "-m", "pipelines.engines.dvc_process", "repro"]
        command += [*(["--force"] if force else []), str(dvc_file)]

        def recorded(stage: str) -> None:
            for output in outputs.get(stage, {}).values():
                discard_work(output)

        done = _run(command, project, {**step_environment(project), **lifeline, KEEP_WORK: "1"}, recorded)
    if done.code:
        raise _failure(done, project)
    return Outcome(tuple(done.ran), outputs)


@dataclass
class _Done:
    """What DVC has said.

    Attributes:
        ran: Stages that ran, in order.
        code: DVC's own exit code, below 0 where a signal has ended it.
        failed: The exit code of the step that failed.
        disk_is_full: Whether DVC itself found no space.
    """

    ran: list[str] = field(default_factory=list)
    code: int = 0
    failed: int | None = None
    disk_is_full: bool = False


def _run(command: list[str], project: Path, environment: Mapping[str, str], recorded: Callable[[str], None]) -> _Done:
    """Run DVC, show what is worth it, and leave no process behind.

    Args:
        command, project, environment: Of the process.
        recorded: Called with a stage that DVC has come past: its result is in ``dvc.lock`` and in the cache.
    """
    done, tree = _Done(), ProcessTree()
    process = subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    tree.started(process.pid)

    def end_with_dvc() -> None:  # whoever holds the pipe's other end keeps the loop below from ending
        process.wait()
        tree.end()

    ending = threading.Thread(target=end_with_dvc, daemon=True)
    ending.start()
    try:
        for line in process.stdout or ():
            if past := _show(line, done):
                recorded(past)
        ending.join()
    except KeyboardInterrupt:
        try:
            threading.Thread(target=process.communicate, daemon=True).start()  # they say what we say, once
            tree.stop()
            ending.join()
        except KeyboardInterrupt:  # once more
            tree.end(0)
        raise
    done.code = process.wait()
    if done.ran and not done.code:
        recorded(done.ran[-1])
    return done


def _show(line: str, done: _Done) -> str:
    """Print a line of DVC's as ours; gives the stage that DVC has come past, empty where it is at the same."""
    past = ""
    if stage := _RUNNING.match(line):
        past = done.ran[-1] if done.ran else ""
        done.ran.append(stage[1])
        sys.stdout.write(f"\n── {stage[1]}\n")
    elif skipped := _SKIPPED.match(line):
        past = skipped[1]
        kept = "restored from the cache" if skipped[2] == "is cached" else "up to date"
        sys.stdout.write(f"── {skipped[1]}: {kept}\n")
    elif failed := _FAILED.match(line):
        done.failed = int(failed[1])
    elif _DISK_FULL.match(line):  # one line a file
        done.disk_is_full = True
    elif line.strip() and not _NOISE.match(line):
        sys.stdout.write(line)
    sys.stdout.flush()
    return past


def _failure(done: _Done, project: Path) -> KineflowError:
    """Why a run stopped, and what helps."""
    if done.disk_is_full:
        return full_disk(project)
    where = done.ran[-1] if done.ran else "DVC"
    go_on = "what was finished is kept; run the same again to go on"
    if done.code < 0:
        return KineflowError(
            f"DVC itself was killed by signal {-done.code}" + (f" while {done.ran[-1]} ran" if done.ran else ""),
            remedy=go_on,
            exit_code=_ON_SIGNAL - done.code,
        )
    if done.failed is None:
        return KineflowError(
            f"the run stopped in {where}", remedy="see DVC's message above: it comes again until that is mended"
        )
    number = -done.failed if done.failed < 0 else done.failed - _ON_SIGNAL
    if number in _STOPPED_BY_HAND:
        return KineflowError(
            f"the run stopped in {where}: it was told to by signal {number}",
            remedy=go_on,
            exit_code=_ON_SIGNAL + number,
        )
    if number > 0:
        return KineflowError(
            f"the run stopped in {where}: it was killed by signal {number}",
            remedy="free memory if it took too much (smaller batches, fewer workers); run the same again to go on",
            exit_code=_ON_SIGNAL + number,
        )
    return KineflowError(
        f"the run stopped in {where}",
        remedy="mend what its message above says, then run the same again: finished steps are kept",
        exit_code=done.failed or 2,
    )
