"""A process that reads one hostile input after another, and tells what each has cost: ``python -m tests.fuzz.worker``.

A line of JSON comes in for each: the folder of the input. A line goes out: ``ok``, ``refused`` (by a KineflowError) or
``traceback``, with its text, the CPU seconds, and the megabytes by which memory rose above what the process had before.
The system ends the process where it wants much more than that.
"""

from __future__ import annotations

import json
import logging
import resource
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

HARD_MEMORY_MB = 3000  # of addresses: mapped files and stacks of threads count as well
HARD_CPU_SEC = 60


def peak_mb() -> float:
    """Highest resident memory since it was last reset."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def limit_memory() -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    most = size + HARD_MEMORY_MB * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def judge(target: Any, folder: Path) -> dict[str, Any]:
    from kineflow.storage.errors import KineflowError

    reset_peak()
    before_mb, before_sec = peak_mb(), time.process_time()
    signal.setitimer(signal.ITIMER_PROF, HARD_CPU_SEC)
    text = ""
    try:
        target(folder)
        verdict = "ok"
    except KineflowError as error:
        verdict, text = "refused", str(error)
    except BaseException:  # a MemoryError, too many brackets, an assertion: none may come out
        verdict, text = "traceback", traceback.format_exc()
    signal.setitimer(signal.ITIMER_PROF, 0)
    return {
        "verdict": verdict,
        "text": text[-4000:],
        "mb": round(peak_mb() - before_mb, 1),
        "cpu_sec": round(time.process_time() - before_sec, 2),
    }


def main() -> None:
    from tests.fuzz.targets import TARGETS

    target = TARGETS[sys.argv[1]]
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    answers, sys.stdout = sys.stdout, sys.stderr
    is_first = True
    for line in sys.stdin:
        answer = judge(target, Path(json.loads(line)))
        if is_first:  # a good one, that has everything imported
            is_first = False
            limit_memory()
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
