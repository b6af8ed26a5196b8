"""How much memory reading a compressed file may take."""

from __future__ import annotations

_TIMES_THE_FILE, _LEAST, _MOST = 16, 256 * 2**20, 4 * 2**30


def memory_for(file_bytes: int) -> int:
    """Bytes that the arrays of a file may have: weights compress by a tenth, and a bomb by a thousandfold."""
    return min(_MOST, max(_LEAST, _TIMES_THE_FILE * file_bytes))
