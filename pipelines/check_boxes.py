"""Boxes of published data, whose frames have to be those of the clips that are ingested."""

from __future__ import annotations

from collections.abc import Iterator

from kineflow.storage.errors import KineflowError
from pipelines.plan import Plan


def look_at_boxes(plan: Plan) -> Iterator[KineflowError]:
    """UCF101-24's boxes where clips are brought to a rate."""
    from kineflow.data.ingest_settings import IngestSettings
    from kineflow.data.ucf101_24 import is_published, require_own_rate
    from kineflow.evaluation.attention.settings import LocaliseSettings

    for _, key, _ in plan.sections(LocaliseSettings):
        boxes = plan.values[key]["boxes"]
        if not boxes or not is_published(plan.project / boxes):
            continue
        for _, section, _ in plan.sections(IngestSettings):
            try:
                require_own_rate(plan.values[section]["fps"], where=f"{key}.boxes")
            except KineflowError as error:
                yield error
