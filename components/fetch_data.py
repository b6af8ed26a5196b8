"""The step ``fetch_data``: one version of DVC-tracked data comes to lie on a shared volume, once."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

from components.dvc.settings import FetchDataSettings
from components.frontend.command import command
from components.frontend.contract import FileOutput, StepResult


def fetch_data(*, params: FetchDataSettings, data: FileOutput) -> StepResult:
    """Fetch a version of DVC-tracked data to a shared volume, once.

    Its folder there is named by its hash; where that is there, nothing is done.

    Args:
        params: Which version, from which DVC remote, to which volume.
        data: JSON file to write: path, version, files, bytes, and the seconds that it took (about 0 when it was there).

    Raises:
        KineflowError: The remote does not have this version, cannot be reached, or has damaged files; or the disk is
            full. What was fetched is kept, and the same step again goes on from there.
    """
    from components.dvc.fetch import fetch
    from kineflow.storage.files import atomic_file

    start = time.monotonic()
    fetched = fetch(params)
    seconds = round(time.monotonic() - start, 3)
    content = dataclasses.asdict(fetched) | {"path": str(fetched.path), "version": params.version, "seconds": seconds}
    with atomic_file(Path(data)) as partial:
        partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return StepResult(
        metrics={"files": fetched.files, "bytes": fetched.bytes, "seconds": seconds},
        summary=f"{fetched.files} files, {fetched.bytes / 1e6:.1f} MB in {fetched.path}",
        tags={"dvc.data.md5": params.version},
    )


if __name__ == "__main__":
    command(fetch_data)
