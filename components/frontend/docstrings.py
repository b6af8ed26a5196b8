"""What a docstring says, taken apart: for ``--help``, and for whoever makes a reference."""

from __future__ import annotations

import re
import textwrap


def documented(docstring: str, heading: str) -> tuple[str, dict[str, str]]:
    """A docstring's description, and what it says of each name under a heading.

    Args:
        docstring: As ``inspect.getdoc`` gives it.
        heading: ``Args`` or ``Attributes``.

    Returns:
        The description up to the first heading; and the text of each name, in which the names of a line such as
        ``frames, stride: …`` have one text.
    """
    description, _, rest = docstring.partition(f"\n{heading}:\n")
    about: dict[str, str] = {}
    last: list[str] = []
    for line in textwrap.dedent(rest.partition("\n\n")[0]).splitlines():
        listed, colon, text = line.partition(": ")
        names = [name.strip() for name in listed.split(",")]
        if colon and all(name.isidentifier() for name in names):
            about |= dict.fromkeys(names, text)
            last = names
        else:
            about |= {name: f"{about[name]} {line.strip()}" for name in last}
    return re.split(r"\n(?:Args|Attributes|Raises|Returns):\n", description)[0].strip(), about


def plain_text(text: str) -> str:
    """Without the marks of reStructuredText."""
    return re.sub(r":\w+:`~?([^`]*)`", r"\1", text).replace("``", "")
