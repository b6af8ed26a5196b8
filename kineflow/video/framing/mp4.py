"""mp4 in fragments: its header lists no frames, so that what follows has to be followed box by box."""

from __future__ import annotations

from typing import BinaryIO

from kineflow.video.framing.words import CUT, DAMAGED, MOST_PIECES


def check(stream: BinaryIO, size: int, _: int) -> str:
    """As :func:`kineflow.video.framing.fault.fault_of`, of an open file of ``size`` bytes."""
    offset, in_fragments = 0, False
    for _piece in range(MOST_PIECES):
        if offset >= size:
            return ""
        stream.seek(offset)
        head = stream.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        in_fragments |= head[4:8] == b"moof"
        if not in_fragments and (length == 0 or len(head) < 8):
            return ""
        if length == 0 and head[4:8] == b"mdat":  # to the end of the file
            return ""
        if length < 8 or not head[4:8].isalnum():
            return DAMAGED.format(offset=offset, what="no box") if in_fragments else ""
        if offset + length > size:
            return CUT.format(what="box") if in_fragments else ""
        offset += length
    return ""
