"""The digest of a list that is too long to be written down at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence


def digest_of_list(blocks: Iterable[Sequence[object]], *, before: str = "", after: str = "") -> str:
    """Hex SHA-256 of a list as JSON.

    Args:
        blocks: Of the list, one after the other.
        before, after: What stands around it.
    """
    digest = hashlib.sha256((before + "[").encode())
    separator = b""
    for block in filter(len, blocks):
        digest.update(separator + json.dumps(block)[1:-1].encode())
        separator = b", "
    digest.update(("]" + after).encode())
    return digest.hexdigest()
