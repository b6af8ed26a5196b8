"""How our pages are made, and what they may do in a browser: show themselves; one runs the script written into it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template

PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""Content security policy of every HTML page that is written: no script, no other file, no address. Names of clips,
classes and models come from outside. Styles are inline, for a page is one file and colours are attributes."""


def scripted_policy(script: str) -> str:
    """The same for a page with this one script inline, and with videos beside it.

    The script is allowed by its hash, so that nothing else runs that a name might carry in. Read from a disk a page has
    no origin of its own, and its neighbours are ``file:``.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"{PAGE_POLICY}; script-src 'sha256-{digest}'; media-src 'self' file:"


def data_uri(data: str | bytes, kind: str) -> str:
    """Content as an address, so that a page is one file; ``kind`` is its media type."""
    raw = data.encode() if isinstance(data, str) else data
    return f"data:{kind};base64,{base64.b64encode(raw).decode()}"


def page_template(path: Path, filters: Mapping[str, Callable[..., Any]] | None = None) -> Template:
    """A template in which whatever comes from outside is escaped, and a name that is not given is an error.

    Args:
        path: Of the file.
        filters: Beside ``uri``, which is :func:`data_uri`.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(path.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"uri": data_uri, **(filters or {})}
    return environment.get_template(path.name)
