"""Kubeflow Pipelines' own description of its API, as a judge of requests and answers.

``kfp_api_v2beta1.swagger.json`` is ``backend/api/v2beta1/swagger/kfp_api_single_file.swagger.json`` of
kubeflow/pipelines 2.17.0, unchanged; Apache License 2.0, Copyright The Kubeflow Authors.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft4Validator, FormatChecker

FILE = Path(__file__).with_name("kfp_api_v2beta1.swagger.json")

_FORMATS = FormatChecker(formats=())


@_FORMATS.checks("date-time", raises=ValueError)
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or bool(datetime.fromisoformat(value))


@_FORMATS.checks("int64", raises=ValueError)
def _is_int64(value: object) -> bool:
    return not isinstance(value, str) or int(value) < 2**63


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    method: str
    template: str
    description: dict[str, Any]

    def faults_of_request(self, query: dict[str, list[str]], body: Any, form: dict[str, bytes]) -> list[str]:
        """What is wrong with a request."""
        known = {(each["in"], each["name"]): each for each in self.description.get("parameters", [])}
        faults = [f"unknown query parameter {name!r}" for name in query if ("query", name) not in known]
        for (place, name), described in known.items():
            if place == "query" and name in query:
                faults += _faults_of_query(name, query[name], described)
            elif place == "body":
                faults += _faults(body, described["schema"], "body")
            elif place == "formData" and described.get("required") and name not in form:
                faults.append(f"no form field {name!r}")
        if body is not None and not any(place == "body" for place, _ in known):
            faults.append("a body where none belongs")
        return faults

    def faults_of_answer(self, status: int, content: Any) -> list[str]:
        """What is wrong with an answer."""
        answers = self.description["responses"]
        schema = answers.get(str(status), answers["default"])["schema"]
        return _faults(content, schema, f"answer {status}")


def operation_of(method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
    """The operation of a request, and the values in its path; None for a path that the API does not have."""
    found = [(operation, match.groupdict()) for operation, pattern in _operations()
             if operation.method == method and (match := pattern.fullmatch(path))]  # fmt: skip
    # .../pipelines/upload fits .../pipelines/{pipeline_id} too; fewer variables are nearer
    return min(found, key=lambda each: len(each[1])) if found else None


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    for definition in document["definitions"].values():
        if definition.get("properties") and "additionalProperties" not in definition:
            definition["additionalProperties"] = False  # protobuf refuses fields that it does not know
    document["definitions"]["protobufAny"].pop("additionalProperties", None)
    return document


@cache
def _operations() -> list[tuple[Operation, re.Pattern[str]]]:
    return [
        (Operation(method.upper(), template, description), _pattern(template))
        for template, methods in _document()["paths"].items()
        for method, description in methods.items()
    ]


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{([\w.]+)\}", template)
    return re.compile("".join(
        f"(?P<{part.replace('.', '_')}>[^/:]+)" if number % 2 else re.escape(part) for number, part in enumerate(parts)
    ))  # fmt: skip


def _faults(content: Any, schema: dict[str, Any], where: str) -> list[str]:
    whole = {**schema, "definitions": _document()["definitions"]}
    found = Draft4Validator(whole, format_checker=_FORMATS).iter_errors(content)
    return [f"{where} at /{'/'.join(map(str, fault.absolute_path))}: {fault.message}" for fault in found]


def _faults_of_query(name: str, values: list[str], described: dict[str, Any]) -> list[str]:
    if len(values) > 1:
        return [f"query parameter {name!r} is given twice"]
    (value,) = values
    if described["type"] == "integer" and not value.isdecimal():
        return [f"query parameter {name!r} is no number: {value!r}"]
    if described["type"] == "boolean" and value not in ("true", "false"):
        return [f"query parameter {name!r} is no boolean: {value!r}"]
    if name == "filter" and value:
        return _faults(json.loads(value), {"$ref": "#/definitions/v2beta1Filter"}, "filter")
    return []
