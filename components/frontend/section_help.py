"""A section of a parameter file, key by key: type, range, default and meaning, read from its class."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from components.frontend.docstrings import documented, plain_text
from kineflow.storage.config import Params

_WIDTH = 100
_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


@dataclass(frozen=True)
class Key:
    """One key of a section.

    Attributes:
        name: With those of the sections that it is in: ``optimiser.rate``, and ``fusion[].models`` within a list.
        kind: Its type in a word or two, its range, and its choices where it has any.
        default: As YAML writes it; None where a value must be given.
        meaning: What it decides, with its unit.
    """

    name: str
    kind: str
    default: str | None
    meaning: str


def keys_of(section: type[Params]) -> Iterator[Key]:
    """Every key of a section, those of sections and of lists within it too, in the order of the class."""
    meanings = _meanings(section)
    for name, field in section.model_fields.items():
        if inspect.isclass(field.annotation) and issubclass(field.annotation, Params):
            default = None if field.is_required() else field.get_default(call_default_factory=True)
            for key in keys_of(field.annotation):
                given = key.default if default is None else _as_yaml(_inner(default, key.name))
                yield Key(f"{name}.{key.name}", key.kind, given, key.meaning)
            continue
        default = None if field.is_required() else _as_yaml(field.get_default(call_default_factory=True))
        yield Key(name, _kind(field), default, plain_text(field.description or meanings.get(name, "")))
        for entry in get_args(field.annotation):
            if inspect.isclass(entry) and issubclass(entry, Params):
                for key in keys_of(entry):
                    yield Key(f"{name}[].{key.name}", key.kind, key.default, key.meaning)


def section_help(title: str, section: type[Params]) -> str:
    """The keys of a section as a block of ``--help``."""
    lines = [f"keys of {title}:"]
    for key in keys_of(section):
        lines.append(f"  {key.name}: {'(required)' if key.default is None else key.default}")
        text = ". ".join(filter(None, [key.kind, key.meaning]))
        lines += textwrap.wrap(text, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


def _meanings(section: type[Params]) -> dict[str, str]:
    """What the docstrings of a class and of its bases say of their attributes."""
    meanings: dict[str, str] = {}
    for base in reversed(section.__mro__):
        if issubclass(base, Params) and base.__doc__:
            meanings |= documented(inspect.cleandoc(base.__doc__), "Attributes")[1]
    return meanings


def _inner(section: Params, name: str) -> Any:
    value: Any = section
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _as_yaml(value: Any) -> str:
    if isinstance(value, Params):
        value = value.model_dump(mode="json")
    return value if isinstance(value, str) and value else json.dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, Params) else str(value)


def _kind(field: FieldInfo) -> str:
    return _with_bounds(_type_name(field.annotation), field.metadata)


def _with_bounds(name: str, marks: Iterable[Any]) -> str:
    """A type with its range, which pydantic keeps as marks."""
    bounds = [
        f"{sign} {getattr(mark, bound)}"
        for mark in marks
        for bound, sign in _BOUNDS.items()
        if getattr(mark, bound, None) is not None
    ]
    return " ".join([name, " and ".join(bounds)]).strip()


def _type_name(hint: Any) -> str:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        marks = (part for mark in hint.__metadata__ for part in getattr(mark, "metadata", [mark]))
        return _with_bounds(_type_name(parts[0]), marks)
    if origin is Literal:
        return " | ".join(json.dumps(part) if part == "" else str(part) for part in parts)
    if origin in (Union, UnionType):
        return " | ".join(dict.fromkeys("null" if part is NoneType else _type_name(part) for part in parts))
    if origin in (list, tuple):
        inner = dict.fromkeys(_type_name(part) for part in parts if part is not ...)
        return f"list of {', '.join(inner)}"
    if origin is dict:
        return f"mapping of {_type_name(parts[0])} to {_type_name(parts[1])}"
    if inspect.isclass(hint) and issubclass(hint, Enum):
        return " | ".join(str(member.value) for member in hint)
    if inspect.isclass(hint) and issubclass(hint, Params):
        return hint.__name__
    return getattr(hint, "__name__", str(hint))
