"""DVC as a command, with its complaints as errors that a user can act on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from kineflow.storage.credentials import redact
from kineflow.storage.disk import full_disk
from kineflow.storage.errors import KineflowError

_COMPLAINT = re.compile(r"^ERROR: (?:unexpected error - )?(.*)$", re.MULTILINE)
_DISK_FULL = "No space left on device"


def run_dvc_command(arguments: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run ``dvc`` in a folder and give what it printed.

    Args:
        arguments: After ``dvc``.
        folder: Of the repository.
        environment: Added to this process's own.

    Raises:
        KineflowError: DVC failed (its own complaint is in the message), or the disk is full.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-m", "dvc", *arguments],
        cwd=folder,
        env={**os.environ, "DVC_NO_ANALYTICS": "1", **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        if _DISK_FULL in done.stderr:
            raise full_disk(folder)
        complaints = _COMPLAINT.findall(done.stderr) or done.stderr.strip().splitlines()[-1:]
        raise KineflowError(
            f"dvc {arguments[0]} failed: {redact('; '.join(complaints) or f'exit code {done.returncode}')}",
            where=folder,
            remedy="check the remote, the network and your access to it (AWS_… variables, ~/.aws), and try again",
        )
    return done.stdout
