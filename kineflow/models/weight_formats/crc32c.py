"""CRC-32C (Castagnoli, RFC 3720), with which TensorFlow guards its files; Python's libraries have another CRC alone.

The register is linear over the bits of what it has seen, so many pieces are gone through side by side, and then joined:
R(AB) is R(A) advanced over as many zeros as B has bytes, xor R(B).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

_POLYNOMIAL = 0x82F63B78
_ALL = 0xFFFFFFFF
_PIECE_BYTES = 512
_BLOCK_BYTES = 2**22
_FEW = 4 * _PIECE_BYTES


def crc32c(content: bytes | memoryview) -> int:
    """The CRC-32C of ``content``, 0..2³²-1."""
    register = _ALL
    for first in range(0, len(content), _BLOCK_BYTES):
        register = _advanced_over(register, content[first : first + _BLOCK_BYTES])
    return register ^ _ALL


def _table() -> Words:
    words = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        words = (words >> np.uint32(1)) ^ (words & np.uint32(1)) * np.uint32(_POLYNOMIAL)
    return words


_TABLE = _table()
_ENTRIES: list[int] = _TABLE.tolist()


def _advanced_over(register: int, block: bytes | memoryview) -> int:
    if len(block) < _FEW:
        for byte in block:
            register = _ENTRIES[(register ^ byte) & 0xFF] ^ (register >> 8)
        return register
    count = 1 << (-(-len(block) // _PIECE_BYTES) - 1).bit_length()
    padded = np.zeros(count * _PIECE_BYTES, np.uint8)  # zeros in front leave a register of 0 as it is
    start = padded.size - len(block)
    padded[start:] = np.frombuffer(block, np.uint8)
    padded[start : start + 4] ^= np.frombuffer(register.to_bytes(4, "little"), np.uint8)
    columns = np.ascontiguousarray(padded.reshape(count, _PIECE_BYTES).T).astype(np.uint32)
    registers = np.zeros(count, np.uint32)
    for column in columns:
        registers = _TABLE[(registers ^ column) & 0xFF] ^ (registers >> 8)
    over = _over_one_zero()
    for _ in range(_PIECE_BYTES.bit_length() - 1):
        over = _advanced(over, over)
    while registers.size > 1:
        registers = _advanced(registers[0::2], over) ^ registers[1::2]
        over = _advanced(over, over)
    return int(registers[0])


def _over_one_zero() -> Words:
    """What becomes of each single bit of a register over a zero byte, uint32 [32]."""
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    over: Words = _TABLE[bits & np.uint32(0xFF)] ^ (bits >> np.uint32(8))
    return over


def _advanced(registers: Words, over: Words) -> Words:
    """Registers, each advanced by what ``over`` [32] says of its bits."""
    advanced = np.zeros_like(registers)
    for bit, becomes in enumerate(over):
        advanced ^= np.where((registers >> np.uint32(bit)) & 1, becomes, np.uint32(0))
    return advanced
