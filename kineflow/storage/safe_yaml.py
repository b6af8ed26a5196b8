"""YAML that nobody vouches for: plain values alone, within bounds, and every mistake with its line.

A few lines of YAML can stand for gigabytes (aliases of aliases), and what looks like a number or a text may be neither:
``2024-01-01`` is a date, ``1:30`` is 90, and of a key that is there twice the last one counts. All of that is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from kineflow.storage.errors import KineflowError, first_line

_MAX_BYTES = 4 * 2**20
_MAX_VALUES = 300_000  # with each alias counted as what it stands for
_MAX_DEPTH = 50
_MAX_DIGITS = 18  # what 64 bits hold
_SHOWN = 60

_STANDARD = "tag:yaml.org,2002:"
_PLAIN = frozenset(f"{_STANDARD}{kind}" for kind in ("str", "int", "float", "bool", "null", "map", "seq"))
_MERGE, _DATE, _INTEGER, _FLOAT = (f"{_STANDARD}{kind}" for kind in ("merge", "timestamp", "int", "float"))


def read_safe_yaml(path: Path) -> Any:
    """The value in a file of one document.

    Raises:
        OSError: It cannot be read.
        KineflowError: It is no YAML, or see the module; with the line.
    """
    with path.open("rb") as stream:
        content = stream.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise KineflowError(
            f"more than {_MAX_BYTES} bytes of YAML", where=path, remedy="check that this is the file you mean"
        )
    try:
        text = content.decode("utf-8-sig")
        _check_depth(text, path)
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)  # libyaml's reads eight times as fast
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _Check(path).size(node)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _fault(path, mark, f"not readable as YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # characters that are none; 900 brackets
        raise KineflowError(
            f"not readable as YAML: {first_line(error)}", where=path, remedy="correct the syntax"
        ) from None


def _check_depth(text: str, path: Path) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise _fault(path, event.start_mark, f"nested deeper than {_MAX_DEPTH} levels")


class _Check:
    """Checks a document node by node, each once however often it is referred to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sizes: dict[int, int] = {}  # 0 while a node is being looked at

    def size(self, node: yaml.Node) -> int:
        """Count of the values that a node stands for."""
        if id(node) in self._sizes:
            if not self._sizes[id(node)]:
                raise self._refused(node, "a value that holds itself")
            return self._sizes[id(node)]
        self._sizes[id(node)] = 0
        if node.tag == _DATE:
            raise self._refused(node, f"{_text_of(node)} is a date", "put it into quotes, or write a number")
        if node.tag not in _PLAIN:
            raise self._refused(node, f"a value with the tag {node.tag[:_SHOWN]!r}", "write plain values, without tags")
        size = 1
        match node:
            case yaml.ScalarNode():
                self._scalar(node)
            case yaml.SequenceNode():
                size += sum(map(self.size, node.value))
            case yaml.MappingNode():
                size += self._mapping(node)
        if size > _MAX_VALUES:
            raise self._refused(node, f"more than {_MAX_VALUES} values, aliases written out", "write fewer")
        self._sizes[id(node)] = size
        return size

    def _scalar(self, node: yaml.ScalarNode) -> None:
        if node.tag in (_INTEGER, _FLOAT) and ":" in node.value:
            raise self._refused(
                node, f"{_text_of(node)} is a number of base 60", "put it into quotes, or write a number"
            )
        if node.tag == _INTEGER and sum(map(str.isalnum, node.value)) > _MAX_DIGITS:
            raise self._refused(node, f"an integer of {len(node.value)} digits", f"write at most {_MAX_DIGITS}")

    def _mapping(self, node: yaml.MappingNode) -> int:
        size, seen = 0, set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._refused(key, "a key that is no plain text")
            if key.tag != _MERGE:
                size += self.size(key)
                if (key.tag, key.value) in seen:
                    raise self._refused(key, f"the key {_text_of(key)} is there twice", "keep one of the two")
                seen.add((key.tag, key.value))
            size += self.size(value)
        return size

    def _refused(self, node: yaml.Node, problem: str, remedy: str = "correct it") -> KineflowError:
        return _fault(self._path, node.start_mark, problem, remedy)


def _fault(path: Path, mark: Any, problem: str, remedy: str = "correct the syntax") -> KineflowError:
    where = path if mark is None else f"{path}, line {mark.line + 1}"
    return KineflowError(problem, where=where, remedy=remedy)


def _text_of(node: yaml.Node) -> str:
    return repr(str(node.value)[:_SHOWN])
