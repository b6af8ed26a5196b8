"""A change of a format on disk is a change of the schema version."""

from __future__ import annotations

import dataclasses

from kineflow.sets.clip_set import CLIP_FILES, Clip
from kineflow.sets.feature_set import FEATURE_FILES
from kineflow.sets.flow_set import FLOW_FILES
from kineflow.spec.schema import DATA_SCHEMA_VERSION

# What each version is made of. Whoever changes a line here raises DATA_SCHEMA_VERSION and enters the new one.
COLUMNS = "clip_id path label group split frames fps width height rotation sha256 status reason source"
FORMATS = {
    1: {"columns": COLUMNS, "clips": 1, "flow": 1, "features": 1},
    2: {"columns": COLUMNS, "clips": 2, "flow": 2, "features": 2},
    3: {"columns": f"{COLUMNS} video_sha256 first_frame", "clips": 3, "flow": 2, "features": 2},
}
# Written only for clips of several classes: earlier versions read all other sets, and refuse these by their columns.
SEVERAL_CLASSES = {"also"}


def test_the_version_stands_for_the_formats_in_use() -> None:
    assert FORMATS[DATA_SCHEMA_VERSION] == {
        "columns": " ".join(field.name for field in dataclasses.fields(Clip) if field.name not in SEVERAL_CLASSES),
        "clips": CLIP_FILES.version,
        "flow": FLOW_FILES.version,
        "features": FEATURE_FILES.version,
    }
