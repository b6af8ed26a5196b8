"""XML of strangers: what is read of it, and what is not."""

from __future__ import annotations

import pytest

from kineflow.storage.safe_xml import MAX_XML_DEPTH, walk_xml


def test_elements_come_as_they_begin_and_end() -> None:
    walked = [(e.path, e.is_start, e.text, e.line) for e in walk_xml('<a>\n<b c="1"> é </b></a>')]
    assert walked == [
        (("a",), True, "", 1),
        (("a", "b"), True, "", 2),
        (("a", "b"), False, "é", 2),
        (("a",), False, "", 1),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<a>",
        "<a></b>",
        '<!DOCTYPE a [<!ENTITY x "xxxxxxxx"><!ENTITY y "&x;&x;&x;">]><a>&y;</a>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        "<a>" * (MAX_XML_DEPTH + 1) + "</a>" * (MAX_XML_DEPTH + 1),
    ],
)
def test_what_is_no_plain_xml_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        list(walk_xml(text))


def test_long_texts_are_read_in_pieces_and_cut() -> None:
    ends = [e for e in walk_xml(f"<a><b>{'x' * 3_000_000}</b><c>y</c></a>") if not e.is_start]
    assert [(e.name, len(e.text)) for e in ends] == [("b", 10_000), ("c", 1), ("a", 0)]
