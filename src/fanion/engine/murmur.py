"""MurmurHash3 in plain Python, for the reference twin: x64_128 and x86_32, seed 0. The core has it in C."""

from __future__ import annotations

_MASK64 = 2**64 - 1
_MASK32 = 2**32 - 1
_C1, _C2 = 0x87C37B91114253D5, 0x4CF5AD432745937F


def _rotate64(x: int, r: int) -> int:
    return ((x << r) | (x >> (64 - r))) & _MASK64


def _final64(k: int) -> int:
    k = (k ^ (k >> 33)) * 0xFF51AFD7ED558CCD & _MASK64
    k = (k ^ (k >> 33)) * 0xC4CEB9FE1A85EC53 & _MASK64
    return k ^ (k >> 33)


def _mix1(k: int) -> int:
    return _rotate64(k * _C1 & _MASK64, 31) * _C2 & _MASK64


def _mix2(k: int) -> int:
    return _rotate64(k * _C2 & _MASK64, 33) * _C1 & _MASK64


def murmur3_x64_128(data: bytes) -> int:
    """(h2 << 64) | h1, the order in which `Reduction` reads the two halves."""
    h1 = h2 = 0
    whole = len(data) // 16 * 16
    for at in range(0, whole, 16):
        h1 ^= _mix1(int.from_bytes(data[at : at + 8], "little"))
        h1 = ((_rotate64(h1, 27) + h2) * 5 + 0x52DCE729) & _MASK64
        h2 ^= _mix2(int.from_bytes(data[at + 8 : at + 16], "little"))
        h2 = ((_rotate64(h2, 31) + h1) * 5 + 0x38495AB5) & _MASK64
    tail = data[whole:]
    h2 ^= _mix2(int.from_bytes(tail[8:], "little"))
    h1 ^= _mix1(int.from_bytes(tail[:8], "little"))
    h1, h2 = h1 ^ len(data), h2 ^ len(data)
    h1 = (h1 + h2) & _MASK64
    h2 = (h2 + h1) & _MASK64
    h1, h2 = _final64(h1), _final64(h2)
    h1 = (h1 + h2) & _MASK64
    h2 = (h2 + h1) & _MASK64
    return (h2 << 64) | h1


def murmur3_32(data: bytes) -> int:
    """The 32-bit x86 variant."""

    def mix(k: int) -> int:
        k = k * 0xCC9E2D51 & _MASK32
        return ((k << 15) | (k >> 17)) * 0x1B873593 & _MASK32

    h = 0
    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        h ^= mix(int.from_bytes(data[at : at + 4], "little"))
        h = ((((h << 13) | (h >> 19)) & _MASK32) * 5 + 0xE6546B64) & _MASK32
    h ^= mix(int.from_bytes(data[whole:], "little"))
    h ^= len(data)
    h = (h ^ (h >> 16)) * 0x85EBCA6B & _MASK32
    h = (h ^ (h >> 13)) * 0xC2B2AE35 & _MASK32
    return h ^ (h >> 16)
