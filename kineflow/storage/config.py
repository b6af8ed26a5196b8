"""Typed configuration that refuses unknown keys."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeGuard, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from kineflow.storage.credentials import WHERE_THEY_BELONG, has_credentials, mask_uri
from kineflow.storage.errors import KineflowError
from kineflow.storage.media import check_root
from kineflow.storage.safe_yaml import read_safe_yaml

_LOG = logging.getLogger("kineflow")


class Params(BaseModel):
    """Base of every parameter section: immutable, finite, and a typo in a key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    renamed: ClassVar[Mapping[str, str]] = {}
    """New name of each key that was called otherwise in the last release; files with the old one still work."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_credentials(cls, values: Any) -> Any:
        if key := _key_with_credentials(values):
            raise PydanticCustomError(
                _CREDENTIAL, "holds a credential; {remedy}", {"key": key, "remedy": WHERE_THEY_BELONG}
            )
        return values

    @model_validator(mode="before")
    @classmethod
    def _take_old_names(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        for old, new in cls.renamed.items():
            if old in values:
                if new in values:
                    raise ValueError(f"{old} is the old name of {new}: give only the new one")
                _tell_new_name(old, new)
                values = {new if key == old else key: value for key, value in values.items()}
        return values


def _key_with_credentials(values: Any) -> str:
    """The dotted name of a key, however deep, whose value is an address with a credential; empty where none is."""
    named: Iterable[tuple[Any, Any]] = ()
    if isinstance(values, Mapping):
        named = values.items()
    elif isinstance(values, list | tuple):
        named = enumerate(values)
    for key, value in named:
        if isinstance(value, str) and has_credentials(value):
            return str(key)
        if below := _key_with_credentials(value):
            return f"{key}.{below}"
    return ""


@cache
def _tell_new_name(old: str, new: str) -> None:
    """Once a process."""
    _LOG.warning("the key %s of a parameter file is now called %s; the next release knows the new name only", old, new)


def _is_local(path: str) -> str:
    if "://" in path:
        raise ValueError("must be a local folder or a mounted volume")
    return path


LocalFolder = Annotated[str, AfterValidator(_is_local)]
"""Path of a folder that programs can write to: on a disk or a mounted volume, no URI; may be empty."""


@contextmanager
def faults_of_a_key() -> Iterator[None]:
    """Within the block, a :class:`KineflowError` is what is wrong with a key of a section, for pydantic to collect.

    Raises:
        ValueError: As the error says, with its remedy.
    """
    try:
        yield
    except KineflowError as error:
        raise ValueError(f"{error.problem}; {error.remedy}" if error.remedy else error.problem) from None


def _is_root(root: str) -> str:
    with faults_of_a_key():
        return check_root(root)


RootFolder = Annotated[str, AfterValidator(_is_root)]
"""A :data:`LocalFolder`, or a place on S3, ``s3://bucket/prefix`` without credentials; may be empty."""


PlainValue = str | int | float | bool


def _whole_numbers(values: dict[str, PlainValue]) -> dict[str, PlainValue]:
    return {key: int(v) if isinstance(v, float) and v.is_integer() else v for key, v in values.items()}


Keywords = Annotated[dict[str, PlainValue], AfterValidator(_whole_numbers)]
"""Plain values for the keywords of a function; a whole number is an int, also where KFP has made a double of it."""

_CREDENTIAL = "credential"
_SHOWN = 200

P = TypeVar("P", bound=Params)


def parse_params(kind: type[P], values: Mapping[str, Any], *, where: str) -> P:
    """Validate ``values`` as ``kind``; every fault is reported at once, with its key, value and allowed range.

    Raises:
        KineflowError: ``values`` is no mapping, a key is unknown, a value is missing, or a value is out of range.
    """
    if not isinstance(values, Mapping):
        raise KineflowError(
            f"invalid parameters\n  {where}: a mapping of keys to values is expected, "
            f"not {mask_uri(repr(values))[:_SHOWN]}",
            remedy="correct these values; nothing has been run",
        )
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        lines = [_describe(kind, where, fault) for fault in error.errors()]
        raise KineflowError(
            "\n".join(["invalid parameters", *lines]), remedy="correct these values; nothing has been run"
        ) from None


def _describe(kind: type[Params], where: str, fault: Any) -> str:
    key = ".".join([where, *map(str, fault["loc"])])
    if fault["type"] == _CREDENTIAL:  # whose value is not shown
        return f"  {key}.{fault['ctx']['key']}: {fault['msg']}"
    if fault["type"] == "extra_forbidden":
        return f"  {key}: unknown key; known keys: {', '.join(_keys_beside(kind, fault['loc']))}"
    if fault["type"] == "missing":
        return f"  {key}: required, and absent"
    message = fault["msg"].removeprefix("Value error, ")
    # Checks across the keys of a section name the values at fault; the whole section would bury them.
    given = "" if isinstance(fault["input"], Mapping) else f", not {mask_uri(repr(fault['input']))}"
    return f"  {key}: {message[0].lower()}{message[1:]}{given}"


def _keys_beside(kind: type[Params], loc: tuple[int | str, ...]) -> list[str]:
    """Keys known to the (possibly nested) section that an unknown key at ``loc`` was written in."""
    for part in loc[:-1]:
        if isinstance(part, int):  # an element of a list of sections
            continue
        field = kind.model_fields.get(part)
        annotation = field.annotation if field else None
        nested = next((t for t in (annotation, *get_args(annotation)) if _is_section(t)), None)
        if nested is None:
            break
        kind = nested
    return sorted(kind.model_fields)


def _is_section(annotation: Any) -> TypeGuard[type[Params]]:
    return isinstance(annotation, type) and issubclass(annotation, Params)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping of plain values (:mod:`kineflow.storage.safe_yaml`).

    Raises:
        KineflowError: The file cannot be read, is no YAML, or holds something other than a mapping.
    """
    try:
        content = read_safe_yaml(path)
    except OSError as error:
        problem = f"not readable: {error.strerror}"
        raise KineflowError(problem, where=path, remedy="give the path of a parameter file") from None
    if not isinstance(content, dict):
        raise KineflowError(f"a mapping was expected, not {type(content).__name__}", where=path)
    return content
