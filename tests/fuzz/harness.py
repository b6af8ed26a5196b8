"""Gives inputs to a worker and holds the figures: no traceback, no more than 1 GB, no more than 10 CPU seconds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

INPUTS = int(os.environ.get("KINEFLOW_FUZZ_INPUTS", "300"))
"""How many of each format; ``KINEFLOW_FUZZ_INPUTS=10000`` for a long run."""

MOST_MB, MOST_CPU_SEC = 1000, 10

Files = dict[str, bytes]


@dataclass
class Fuzzer:
    """A worker, which is started anew where an input has ended it.

    Attributes:
        target: One of :data:`tests.fuzz.targets.TARGETS`.
        folder: For inputs.
        good: An input without a fault: it is read first, and is to be read.
    """

    target: str
    folder: Path
    good: Files
    verdicts: Counter[str] = field(default_factory=Counter)
    most_mb: float = 0.0
    most_cpu_sec: float = 0.0
    _worker: subprocess.Popen[str] | None = None

    def check(self, files: Files) -> None:
        """Have an input read."""
        if self._worker is None:
            self._start()
            first = self._ask(self.good)
            assert first["verdict"] == "ok", first["text"]
        answer = self._ask(files)
        answer["text"] += f"\nthe input: {self._kept(answer)}"
        self.verdicts[answer["verdict"]] += 1
        self.most_mb, self.most_cpu_sec = max(self.most_mb, answer["mb"]), max(self.most_cpu_sec, answer["cpu_sec"])
        assert answer["verdict"] in ("ok", "refused"), answer["text"]
        assert answer["mb"] <= MOST_MB, f"{answer['mb']} MB: {answer['text']}"
        assert answer["cpu_sec"] <= MOST_CPU_SEC, f"{answer['cpu_sec']} CPU s: {answer['text']}"

    def close(self) -> str:
        """End the worker; give the figures."""
        if self._worker is not None:
            self._end(self._worker)
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(self.verdicts.items()))
        return f"{self.target}: {verdicts}; at most {self.most_mb:.0f} MB and {self.most_cpu_sec:.1f} CPU s"

    def _start(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
        self._worker = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker", self.target],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment,
        )  # fmt: skip

    def _ask(self, files: Files) -> dict[str, Any]:
        worker = self._worker
        assert worker is not None
        assert worker.stdin is not None
        assert worker.stdout is not None
        folder = self.folder / "input"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        worker.stdin.write(json.dumps(str(folder)) + "\n")
        worker.stdin.flush()
        line = worker.stdout.readline()
        if not line:  # the system has ended it
            self._worker = None
            code = self._end(worker)
            return {"verdict": "killed", "text": f"the worker ended with {code}", "mb": 0.0, "cpu_sec": 0.0}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _kept(self, answer: dict[str, Any]) -> Path | None:
        """A copy of an input that went wrong."""
        if answer["verdict"] in ("ok", "refused") and answer["mb"] <= MOST_MB and answer["cpu_sec"] <= MOST_CPU_SEC:
            return None
        return Path(
            shutil.copytree(
                self.folder / "input", tempfile.mkdtemp(prefix=f"kineflow-fuzz-{self.target}-"), dirs_exist_ok=True
            )
        )

    @staticmethod
    def _end(worker: subprocess.Popen[str]) -> int:
        for stream in (worker.stdin, worker.stdout):
            if stream is not None:
                stream.close()
        return worker.wait(timeout=60)
