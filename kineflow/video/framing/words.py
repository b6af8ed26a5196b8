"""What is said of files that are not whole, and how far they are followed."""

from __future__ import annotations

CUT = "its last {what} breaks off: the file ends early"
LOST = "{have} of the {promised} bytes of its header are there"
DAMAGED = "damaged at byte {offset}: {what}"

MOST_PIECES = 20_000_000
"""Pieces of a file that are walked through; what comes behind is not judged."""

CHUNK = 2**22
"""Bytes that are held at a time."""
