"""The step ``list_source``: on a cluster, which state the source of a run is in."""

from __future__ import annotations

import json

from components.frontend.command import command
from components.frontend.contract import SectionOutput, StepResult, UntrackedResult
from components.frontend.kfp import SOURCE_VERSION
from kineflow.data.ingest_settings import IngestSettings


def list_source(*, params: IngestSettings, listed: SectionOutput) -> UntrackedResult:
    """Add to a section the version of the source that it names, so that caches tell a source that has grown.

    Only names are listed: by them, and by sizes, times or ETags, a source is known to be what it was.

    Args:
        params: Where the videos and their lists are.
        listed: The section, with the version; handed to ingest in its place.

    Raises:
        KineflowError: The source is not there or empty, or cannot be read.
    """
    from kineflow.data.source_version import source_version
    from kineflow.storage.files import atomic_file

    version, files = source_version(params)
    with atomic_file(listed) as partial:
        partial.write_text(json.dumps(params.model_dump(mode="json") | {SOURCE_VERSION: version}), encoding="utf-8")
    return StepResult(summary=f"{files} files in {params.source}, version {version[:12]}")


if __name__ == "__main__":
    command(list_source)
