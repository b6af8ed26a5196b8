"""A small project that has been run to its end, undisturbed; and the same with one stage undone."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from pipelines.dag.sources import ROOT
from tests.pipelines.conftest import TINY_PARAMS, TINY_SYNTH

_RATES = ("clips_per_second", "data_wait_share", "pairs_per_second", "solver_busy_share")
_LEFTOVERS = re.compile(r"\.(partial|removed|replaced)(\..*)?$|^\..*-work$")
_FACTS = re.compile(r"<dt>[^<]*</dt><dd>[^<]*</dd>\n?")
_MEDIA = {"ingest": ("clips", "index"), "extract-flow": ("flow",)}  # what each makes anew then
_BEGINS = re.compile(r"^── ([a-z-]+)$")


@dataclass(frozen=True)
class Ended:
    """A run that has ended."""

    code: int
    said: str

    @property
    def ran(self) -> list[str]:
        """The stages that were done, not restored."""
        return re.findall(r"^── ([a-z-]+)$", self.said, re.MULTILINE)


class ChaosProject:
    """A project in ``folder/project``, and the whole of it in ``folder/whole``.

    Attributes:
        folder: Of both.
        seconds_of: How long each stage took, undisturbed.
        outputs: What each stage made: hashes, and figures without rates.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path, self._whole = folder, folder / "project", folder / "whole"
        self.path.mkdir()
        self._python("-m", "dvc", "init", "--no-scm", "--quiet")
        (self.path / "params.yaml").write_text(yaml.safe_dump(TINY_PARAMS))
        (self.path / "synth.yaml").write_text(yaml.safe_dump(TINY_SYNTH))
        self._python("-m", "pipelines.cli", "synth", "data", "--spec", "synth.yaml", "--seed", "3", "--workers", "1")
        started = time.monotonic()
        begun: list[tuple[str, float]] = []
        process = self.start()
        for line in process.stdout or ():
            if stage := _BEGINS.match(line):
                begun.append((stage[1], time.monotonic()))
        assert process.wait() == 0
        times = [*(at for _, at in begun), time.monotonic()]
        self.startup_seconds = times[0] - started
        self.seconds_of = {stage: times[n + 1] - at for n, (stage, at) in enumerate(begun)}
        self.seconds_of.pop("register")  # a version that is there already is another result
        self.outputs = self.made()
        self.path.rename(self._whole)

    def start(self) -> subprocess.Popen[str]:
        """Start the recipe, as the leader of a group of processes."""
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", "run", "d3d"],
            cwd=self.path,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # shells have it ignored in the background
        )

    def run(self) -> Ended:
        """Run the recipe to its end."""
        process = self.start()
        said, _ = process.communicate(timeout=600)
        return Ended(process.returncode, said)

    def undo(self, stage: str) -> None:
        """Put the whole project in place, but for one stage, of which nothing is left but what it reads."""
        shutil.rmtree(self.path, ignore_errors=True)
        subprocess.run(["cp", "-a", str(self._whole), str(self.path)], check=True)
        lock = yaml.safe_load((self.path / "dvc.lock").read_text())
        undone = lock["stages"].pop(stage)
        (self.path / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))
        shutil.rmtree(self.path / "outputs" / stage)
        shutil.rmtree(self.path / ".dvc" / "tmp" / "kineflow" / "locks")
        for run in list((self.path / ".dvc" / "cache" / "runs").rglob("*")):
            if run.is_file() and yaml.safe_load(run.read_text())["cmd"] == undone["cmd"]:
                shutil.rmtree(run.parent)
        needed = {md5 for other in lock["stages"].values() for md5 in self._cached(other)}
        for md5 in set(self._cached(undone)) - needed:
            (self.path / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]).unlink(missing_ok=True)
        for kind in _MEDIA.get(stage, ()):
            shutil.rmtree(self.path / "media" / kind)

    def made(self) -> dict[str, Any]:
        """What each stage has made."""
        stages = yaml.safe_load((self.path / "dvc.lock").read_text())["stages"]
        found: dict[str, Any] = {}
        for stage, locked in stages.items():
            for output in locked["outs"]:
                path = output["path"]
                read = {".json": self._figures, ".html": self._page}.get(Path(path).suffix)
                found[path] = read(path) if read else output["md5"]
            assert (self.path / "outputs" / stage).is_dir()
        return found

    def leftovers(self) -> list[str]:
        """What a run may not leave: half-written things, work, marks of runs."""
        names = [path for part in ("outputs", "media", ".") for path in self._walk(self.path / part, deep=part != ".")]
        found = [str(path.relative_to(self.path)) for path in names if _LEFTOVERS.search(path.name)]
        return found + [name for name in ("mlflow.db.running", "mlflow.db-journal") if (self.path / name).exists()]

    def running(self) -> list[str]:
        """Runs that MLflow takes for running."""
        with closing(sqlite3.connect(self.path / "mlflow.db")) as database:
            return [name for (name,) in database.execute("SELECT name FROM runs WHERE status = 'RUNNING'")]

    def processes(self) -> list[str]:
        """Processes that work in the project."""
        found = []
        for process in psutil.process_iter(["cwd", "cmdline", "status"]):
            is_ours = str(process.info["cwd"]) == str(self.path) and process.info["status"] != psutil.STATUS_ZOMBIE
            found += [f"{process.pid} {' '.join(process.info['cmdline'] or ())}"] if is_ours else []
        return found

    def _python(self, *arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], cwd=self.path, env=self._environment, check=True)

    @property
    def _environment(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_TRACKING", "KINEFLOW", "DVC_"))}
        site = {"DVC_SITE_CACHE_DIR": str(self.folder / "site"), "DVC_NO_ANALYTICS": "1"}
        return {**clean, **site, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}

    def _cached(self, stage: dict[str, Any]) -> list[str]:
        """Hashes of what a stage has in DVC's cache."""
        found = []
        for output in stage["outs"]:
            md5 = output["md5"]
            path = self.path / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
            if md5.endswith(".dir") and path.is_file():
                found += [each["md5"] for each in json.loads(path.read_text())]
            found.append(md5)
        return found

    def _figures(self, path: str) -> Any:
        figures = json.loads((self.path / path).read_text())
        return {name: value for name, value in figures.items() if name not in _RATES}

    def _page(self, path: str) -> Any:
        """A page without its facts about the run, which has another name and was made from another commit."""
        return hashlib.sha256(_FACTS.sub("", (self.path / path).read_text()).encode()).hexdigest()

    def _walk(self, folder: Path, *, deep: bool) -> list[Path]:
        return list(folder.rglob("*") if deep else folder.iterdir())
