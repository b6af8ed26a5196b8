"""Requests of whole files: ingestion, and DVC's push and pull."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from scale_model.figures import S3
from scale_model.measuring.clocks import command
from scale_model.measuring.counting_server import BUCKET, counting_server
from scale_model.measuring.dvc import write_files

SIZES = (50, 350)
QUICK = (20, 80)


def measure(quick: bool) -> S3:
    """Slopes between two counts of files, so that what a command asks once is left out."""
    print("s3", file=sys.stderr)
    few, many = QUICK if quick else SIZES
    first, second = _requests(few), _requests(many)
    slope = {name: (second[name] - first[name]) / (many - few) for name in first}
    return S3(
        ingest_a_clip=slope["ingest"],
        dvc_push_a_file=slope["push"],
        dvc_push_puts_a_file=slope["puts"],
        dvc_pull_a_file=slope["pull"],
    )


def _requests(files: int) -> dict[str, int]:
    with tempfile.TemporaryDirectory() as temporary, counting_server() as server:
        repository = Path(temporary) / "repository"
        repository.mkdir()
        write_files(repository / "data", files)
        env = {**server.environment, "DVC_SITE_CACHE_DIR": f"{temporary}/site", "DVC_NO_ANALYTICS": "1"}

        def dvc(*arguments: str) -> None:
            command([sys.executable, "-m", "dvc", *arguments], cwd=repository, env=env)

        dvc("init", "--no-scm", "--quiet")
        dvc("config", "core.check_update", "false")
        dvc("remote", "add", "--default", "there", f"s3://{BUCKET}/dvc")
        dvc("remote", "modify", "there", "endpointurl", server.endpoint_url)
        dvc("add", "--quiet", "data")
        server.seen.clear()
        dvc("push", "--quiet")
        counted = {"push": server.seen.total(), "puts": server.seen["PUT"]}

        shutil.rmtree(repository / ".dvc" / "cache")
        shutil.rmtree(repository / "data")
        server.seen.clear()
        dvc("pull", "--quiet")
        counted["pull"] = server.seen.total()

        from kineflow.data.source import open_source
        from kineflow.storage.upload import upload_folder

        upload_folder(repository / "data", f"s3://{BUCKET}/raw")
        server.seen.clear()
        source = open_source(f"s3://{BUCKET}/raw")
        for name in source.names():
            with source.fetch(name):
                pass
        counted["ingest"] = server.seen.total()
        return counted
