"""A change of a format on disk is a change of the schema version."""

from __future__ import annotations

import dataclasses

from kineflow.data import features
from kineflow.data.manifest import Clip
from kineflow.data.schema import DATA_SCHEMA_VERSION
from kineflow.flow import store

# What version 1 is made of. Whoever changes a line here raises DATA_SCHEMA_VERSION and enters the new one.
FORMATS = {
    1: {
        "clips": "clip_id path label group split frames fps width height rotation sha256 status reason source",
        "flow": 1,
        "features": 1,
    }
}


def test_the_version_stands_for_the_formats_in_use() -> None:
    assert FORMATS[DATA_SCHEMA_VERSION] == {
        "clips": " ".join(field.name for field in dataclasses.fields(Clip)),
        "flow": store.FORMAT_VERSION,
        "features": features.FORMAT_VERSION,
    }
