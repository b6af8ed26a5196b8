"""XML that nobody vouches for: walked as it is read, without entities of its own, without files it refers to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn
from xml.parsers import expat

MAX_XML_DEPTH = 64
_MOST_LETTERS = 10_000  # of one element, kept
_PIECE = 1 << 20  # letters read at a time


@dataclass
class XmlElement:
    """An element that has been read to its end.

    Attributes:
        path: Names of the elements around it and its own, outermost first.
        attributes: By name.
        text: What stands directly in it, without blanks round it; its first 10,000 letters.
        line: On which it begins, from 1.
        is_start: Whether this is its beginning, where ``text`` is not known yet, and what is in it follows.
    """

    path: tuple[str, ...]
    attributes: Mapping[str, str]
    line: int
    text: str = ""
    is_start: bool = True
    _parts: list[str] = field(default_factory=list, repr=False)

    @property
    def name(self) -> str:
        """Its own name."""
        return self.path[-1]


def walk_xml(text: str) -> Iterator[XmlElement]:
    """Every element twice, as it begins and as it ends, in the order of the text; no tree is built.

    Raises:
        ValueError: It is no well-formed XML, is nested more than 64 deep, or declares a document type: entities that
            multiply, and files to be fetched, begin with one.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    pending: list[XmlElement] = []
    open_elements: list[XmlElement] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        path = (*(open_elements[-1].path if open_elements else ()), name)
        if len(path) > MAX_XML_DEPTH:
            raise ValueError(f"nested more than {MAX_XML_DEPTH} deep")
        element = XmlElement(path, attributes, parser.CurrentLineNumber)
        open_elements.append(element)
        pending.append(element)

    def end(_: str) -> None:
        begun = open_elements.pop()
        text = "".join(begun._parts)[:_MOST_LETTERS].strip()
        pending.append(XmlElement(begun.path, begun.attributes, begun.line, text, is_start=False))

    def characters(data: str) -> None:
        if open_elements and len(open_elements[-1]._parts) < _MOST_LETTERS:
            open_elements[-1]._parts.append(data[:_MOST_LETTERS])

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    for first in range(0, max(1, len(text)), _PIECE):
        try:
            parser.Parse(text[first : first + _PIECE], first + _PIECE >= len(text))
        except expat.ExpatError as error:
            raise ValueError(f"line {error.lineno}: {expat.ErrorString(error.code)}") from None
        yield from pending
        pending.clear()


def _refuse(*_: Any) -> NoReturn:
    raise ValueError("declares a document type or an entity, which is not read")
