"""DVC as a program that waits for its turn, and ends with the run that has started it.

``python -m pipelines.engines.dvc_process repro dvc.yaml`` is ``dvc repro dvc.yaml`` but for four things: what a kill
has left of DVC's files is mended first (:mod:`pipelines.engines.dvc_state`); DVC waits for its lock, where it would
give up after three seconds, and throw away a stage that has just succeeded because an editor asks DVC how things are;
SIGTERM stops it as Ctrl-C does; and it does not outlive the run.
"""

from __future__ import annotations

import functools
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from components.frontend.lifeline import end_with_run
from pipelines.engines.dvc_state import keep_locks, mend_databases, mend_dvc_state, mend_run_cache

_AGAIN_SECONDS = 0.2
_TRIES_IN_SILENCE = 4  # of two a second


def main(arguments: list[str]) -> int:
    """Run DVC in the working folder, a project's.

    Args:
        arguments: After ``dvc``.

    Returns:
        DVC's exit code.
    """
    for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        if signal.getsignal(each) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(each, _stop)
    end_with_run()
    project = Path.cwd()
    done = mend_dvc_state(project)
    from dvc import rwlock
    from dvc.cli import main as dvc

    repository = _repository(project)
    done += mend_databases(Path(repository.site_cache_dir))
    mend_run_cache(Path(repository.cache.legacy.path) / "runs", project)
    for words in done:
        sys.stdout.write(f"{words}\n")
    sys.stdout.flush()
    # A lock of hard links (DVC's setting for some network disks) outlives its process: to wait for it may be for ever.
    waits = not repository.config["core"].get("hardlink_lock", False)
    if waits:
        _say_for_whom_it_waits()
        rwlock.make_lock = functools.partial(rwlock.make_lock, wait=True)  # has no setting
    code = int(dvc([*(["--wait-for-lock"] if waits else []), *arguments]) or 0)
    keep_locks(project)
    return code


def _repository(project: Path) -> Any:
    """DVC's view of a project, without its databases, which may be damaged."""
    from dvc.repo import Repo
    from dvc_data.hashfile import state

    opened = state.State
    setattr(state, "State", lambda *_: state.StateNoop())  # noqa: B010 - a type, to mypy
    try:
        return Repo(str(project))
    finally:
        setattr(state, "State", opened)  # noqa: B010


def _say_for_whom_it_waits() -> None:
    """Let DVC say once which process holds a lock that it has waited for."""
    from dvc.lock import Lock, LockError

    take = Lock._do_lock
    failed: Counter[str] = Counter()

    def take_or_say(lock: Any) -> None:
        try:
            take(lock)
        except LockError:
            failed[lock.lockfile] += 1
            if failed[lock.lockfile] == _TRIES_IN_SILENCE:
                holder = Path(lock.lockfile).read_text(encoding="utf-8", errors="replace").strip()
                sys.stdout.write(f"waiting for another DVC command (process {holder}) to release {lock.lockfile}\n")
                sys.stdout.flush()
            raise

    Lock._do_lock = take_or_say


def _stop(_number: int, _frame: FrameType | None) -> None:
    """Be interrupted, but not while a stage runs: DVC waits for it then, to see how it ends."""
    import psutil

    if not psutil.Process().children():
        raise KeyboardInterrupt
    signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
