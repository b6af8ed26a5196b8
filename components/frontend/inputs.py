"""What a run reads beside its parameters: the files, folders and URIs that they name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from kineflow.models.transformers_names import is_hub_id
from kineflow.models.weights_table import is_named
from kineflow.storage.config import Params

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # models:/NAME has one slash


def is_input(field: FieldInfo, value: Any) -> bool:
    """Whether a field names something that the run reads: one marked ``{"is_input": True}``, and not empty.

    One marked ``{"or_weights_name": True}`` too may have a name of published weights instead, or a hub's id.
    """
    marks = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    if not value or not marks.get("is_input"):
        return False
    return not (marks.get("or_weights_name") and (is_named(str(value)) or is_hub_id(str(value))))


def local_inputs(kind: type, values: Mapping[str, Any]) -> list[str]:
    """Paths named in a section, or a list in it, that the run reads, as :func:`is_input` tells; no URIs."""
    if not (inspect.isclass(kind) and issubclass(kind, Params)):
        return []
    paths: list[str] = []
    for name, field in kind.model_fields.items():
        value = values.get(name)
        if is_input(field, value):
            paths += [] if _URI.match(str(value)) else [str(value)]
        elif isinstance(value, list):
            paths += [
                path for entry in get_args(field.annotation) for item in value for path in local_inputs(entry, item)
            ]
    return paths


def places_read(ingestion: Mapping[str, Any]) -> list[str]:
    """Where videos and lists are taken from, as the section ``ingestion`` names it."""
    linked = [each["path"] for each in ingestion.get("linked_folders") or ()]
    return [ingestion["source"], ingestion.get("annotations") or "", *linked]
