"""How a program of ours speaks and ends: log lines, a user's mistake as one message, and exit codes."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

from components.launch.worker import LAUNCH, is_main_process, report_to_launcher, restarts_done
from kineflow.storage.disk import is_full_disk, no_space
from kineflow.storage.errors import KineflowError
from kineflow.storage.stopping import exit_code_of, signals_stop

_GO_ON = "what was finished is kept; run the same command again to go on"
_LOG = logging.getLogger("kineflow")


def say_progress() -> None:
    """Let Kineflow's own log lines through to standard error; other libraries only warn."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger().setLevel(logging.WARNING)  # KFP's executor has let every library speak
    _LOG.setLevel(logging.INFO if is_main_process() else logging.WARNING)
    if restarts_done():
        _LOG.info("a process was lost; all were started again, and go on from the last round")


def exit_code(work: Callable[[], None]) -> int:
    """Run ``work``; print a user's mistake as one message, and say how to go on.

    SIGTERM and SIGHUP end it as Ctrl-C does.

    Returns:
        0, or 2 for a mistake, 4 for a server out of sight, 28 for a full disk, 130 after Ctrl-C (said in the words of
        the ``KeyboardInterrupt`` where it has any), 143 after SIGTERM.
    """
    try:
        with signals_stop():
            work()
    except KineflowError as error:
        return _say_mistake(error)
    except KeyboardInterrupt as stop:
        if LAUNCH not in os.environ:  # else the launcher says it
            print(f"interrupted: {stop.args[0] if stop.args else _GO_ON}", file=sys.stderr)  # noqa: T201
        return exit_code_of(stop)
    except Exception as error:
        if not is_full_disk(error):
            raise
        return _say_mistake(no_space(error))
    return 0


def _say_mistake(error: KineflowError) -> int:
    if not report_to_launcher(error):
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
    return error.exit_code
