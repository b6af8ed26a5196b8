"""DVC on folders of small files, and the hashes a byte costs."""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from scale_model.figures import Dvc
from scale_model.measuring.clocks import command, cpu_seconds, line

SIZES = (1_000, 5_000, 20_000)
QUICK = (500, 2_000)
_BYTES_A_FILE = 1_000
_FILES_A_FOLDER = 200
_HASHED_BYTES = 2**27


def measure(quick: bool) -> Dvc:
    """Slopes over the sizes; the start is that of a ``status`` of one file."""
    sizes = QUICK if quick else SIZES
    with tempfile.TemporaryDirectory() as folder:
        rows = [_commands(size, Path(folder) / str(size)) for size in sizes]
        start_s = statistics.median(_commands(1, Path(folder) / f"one{n}")["status"] for n in range(3))
    slopes = {name: line(sizes, [row[name] for row in rows])[0] for name in rows[0]}
    return Dvc(
        start_cpu_s=start_s,
        add_cpu_ms=1000 * slopes["add"],
        status_cpu_ms=1000 * slopes["status"],
        push_cpu_ms=1000 * slopes["push"],
        checkout_cpu_ms=1000 * slopes["checkout"],
        dir_file_bytes=slopes["dir_bytes"],
        md5_bytes_a_cpu_s=_rate("md5"),
        sha256_bytes_a_cpu_s=_rate("sha256"),
    )


def _commands(files: int, folder: Path) -> dict[str, float]:
    print(f"dvc: {files} files", file=sys.stderr)
    folder.mkdir()
    repository, remote = folder / "repository", folder / "remote"
    repository.mkdir()
    write_files(repository / "data", files)
    env = {"DVC_SITE_CACHE_DIR": str(folder / "site"), "DVC_NO_ANALYTICS": "1"}

    def dvc(*arguments: str) -> float:
        return command([sys.executable, "-m", "dvc", *arguments], cwd=repository, env=env).cpu_s

    dvc("init", "--no-scm", "--quiet")
    dvc("config", "core.check_update", "false")
    dvc("config", "cache.type", "reflink,hardlink,copy")
    dvc("remote", "add", "--default", "there", str(remote))
    taken = {"add": dvc("add", "--quiet", "data"), "status": dvc("status", "--quiet")}
    taken["push"] = dvc("push", "--quiet")
    shutil.rmtree(repository / "data")
    taken["checkout"] = dvc("checkout", "--quiet")
    (listing,) = (repository / ".dvc" / "cache").rglob("*.dir")
    taken["dir_bytes"] = listing.stat().st_size
    shutil.rmtree(folder)
    return taken


def write_files(folder: Path, files: int) -> None:
    """Small files of random bytes with names as long as those of clips."""
    for number in range(files):
        path = folder / f"class_{number // _FILES_A_FOLDER:03}" / f"v_Archery_g{number:08}_c01.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(_BYTES_A_FILE))


def _rate(algorithm: str) -> float:
    content = os.urandom(_HASHED_BYTES)
    return _HASHED_BYTES / min(cpu_seconds(lambda: hashlib.new(algorithm, content).digest()) for _ in range(3))
