"""What a page of ours may do in a browser: nothing but show itself."""

from __future__ import annotations

import base64

PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""Content security policy of every HTML page that is written: no script, no other file, no address. Names of clips,
classes and models come from outside. Styles are inline, for a page is one file and colours are attributes."""


def data_uri(data: str | bytes, kind: str) -> str:
    """Content as an address, so that a page is one file; ``kind`` is its media type."""
    raw = data.encode() if isinstance(data, str) else data
    return f"data:{kind};base64,{base64.b64encode(raw).decode()}"
