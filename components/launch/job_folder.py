"""The folder on the shared volume through which a training job gets its inputs and hands over its outputs.

::

    <volume>/jobs/<run>/<job>/inputs/<name>     copies of the step's small inputs: manifests, bundles of weights
                              outputs/<name>    what the step writes, and beside it what it resumes from
                              work              checkpoints of a training on one node
                              metrics.json      final figures
                              mistake.json      a user's mistake that some node has found, to be said by the launcher

Inputs that lie on the volume already are read where they are. A folder outlives a failed attempt, because the next one
resumes from the checkpoints in it; folders that no launcher has looked after for two weeks are removed by the next job.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from kineflow.spec.output_files import METRICS_FILE
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file, atomic_folder, inside

_ABANDONED_SEC = 14 * 86_400
_MOST_METRICS_BYTES = 1 << 20
_LOG = logging.getLogger("kineflow")


class JobFolder:
    """One job's folder on the volume.

    Args:
        volume: Where the volume is mounted, here and on every node.
        run: Of the recipe; a name fit for a folder.
        job: A name that is the same for every attempt at the task.
    """

    def __init__(self, volume: Path, run: str, job: str) -> None:
        self._volume = volume
        self._jobs = volume / "jobs"
        self.path = inside(self._jobs, f"{run}/{job}")
        self.metrics = self.path / METRICS_FILE

    def take_in(self, given: Mapping[str, Any], inputs: Sequence[str], outputs: Sequence[str]) -> dict[str, Any]:
        """Copy what the nodes cannot reach, and give the arguments that the step has on the nodes.

        Inputs that an earlier attempt has copied are kept: a job of that attempt may be reading them, and the inputs
        of a task never change within a run.

        Raises:
            KineflowError: The volume is not mounted or cannot be written to, or an input is missing.
        """
        self._make()
        self._remove_abandoned()
        placed = dict(given)
        for name in (key for key in inputs if given.get(key) is not None):
            paths = given[name]
            if isinstance(paths, list):
                placed[name] = [self._reachable(f"{name}-{number}", Path(path)) for number, path in enumerate(paths, 1)]
            else:
                placed[name] = self._reachable(name, Path(paths))
        for name in (key for key in outputs if key in given):
            placed[name] = self.path / "outputs" / name
        return {name: value for name, value in placed.items() if value is not None}

    def hand_out(self, given: Mapping[str, Any], outputs: Sequence[str]) -> dict[str, float]:
        """Copy the outputs to where the step's caller wants them, each whole or not at all.

        Returns:
            The final figures.

        Raises:
            KineflowError: The job wrote no such output, or no readable figures.
        """
        metrics = self._read_metrics()
        for name in (key for key in outputs if key in given):
            made, target = self.path / "outputs" / name, Path(given[name])
            if made.is_dir():
                with atomic_folder(target) as partial:
                    shutil.copytree(made, partial, dirs_exist_ok=True)
            elif made.is_file():
                with atomic_file(target) as partial:
                    shutil.copyfile(made, partial)
            else:
                raise KineflowError(f"the training job ended well, but wrote no {name}", where=made)
        return metrics

    def work(self) -> Path:
        """A folder for the checkpoints of a training on one node.

        Raises:
            KineflowError: The volume is not mounted or cannot be written to.
        """
        self._make()
        self._remove_abandoned()
        return self.path / "work"

    def keep_alive(self) -> None:
        """Say that a launcher looks after the folder; once missed is no harm."""
        with suppress(OSError):
            os.utime(self.path)

    def remove(self) -> None:
        """Remove the folder, and that of the run if nothing else is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._remove_if_empty(self.path.parent)

    def _make(self) -> None:
        if not self._volume.is_dir():
            raise KineflowError("the shared volume is not mounted here", where=self._volume)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            os.utime(self.path)
        except OSError as error:
            raise KineflowError(
                f"the shared volume cannot be written to: {error.strerror}",
                where=self.path,
                remedy="run the step as a user who may write to the volume",
            ) from None

    def _reachable(self, name: str, source: Path) -> Path:
        if source.resolve().is_relative_to(self._volume.resolve()):
            return source
        copy = self.path / "inputs" / name
        if copy.exists():
            return copy
        if source.is_dir():
            with atomic_folder(copy) as partial:
                shutil.copytree(source, partial, dirs_exist_ok=True)
        elif source.is_file():
            with atomic_file(copy) as partial:
                shutil.copyfile(source, partial)
        else:
            raise KineflowError(f"there is no {name}", where=source)
        _LOG.info("%s: copied to %s for the nodes", name, copy)
        return copy

    def _read_metrics(self) -> dict[str, float]:
        try:
            with self.metrics.open("rb") as stream:
                figures = json.loads(stream.read(_MOST_METRICS_BYTES))
            return {str(name): float(value) for name, value in figures.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            raise KineflowError(
                "the training job ended well, but its figures cannot be read", where=self.metrics
            ) from None

    def _remove_abandoned(self) -> None:
        for folder in self._jobs.glob("*/*"):
            try:
                is_abandoned = _is_old(folder) and all(map(_is_old, folder.rglob("*")))
            except OSError:  # another launcher has just removed it
                continue
            if is_abandoned and not folder.is_symlink():
                _LOG.info("%s: removed, no launcher has looked after it for two weeks", folder)
                shutil.rmtree(folder, ignore_errors=True)
                self._remove_if_empty(folder.parent)

    @staticmethod
    def _remove_if_empty(folder: Path) -> None:
        with suppress(OSError):  # another task of the run has its folder in it
            folder.rmdir()


def remove_run(volume: Path, run: str) -> None:
    """Remove the folders of all jobs of a run, which has ended."""
    shutil.rmtree(inside(volume / "jobs", run), ignore_errors=True)


def _is_old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > _ABANDONED_SEC
