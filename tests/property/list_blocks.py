"""Blocks of list segments in plain Python: the twin of `fanion._core.list_block`."""

from __future__ import annotations

import struct

HEAD = struct.Struct("<QQQIHBB")
WORD = (1 << 64) - 1


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> 64 - bits) & WORD


def siphash(k0: int, k1: int, data: bytes) -> int:
    """SipHash-2-4, as its authors give it."""
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rounds(count: int) -> None:
        for _ in range(count):
            v[0] = (v[0] + v[1]) & WORD
            v[1] = _rotated(v[1], 13) ^ v[0]
            v[0] = _rotated(v[0], 32)
            v[2] = (v[2] + v[3]) & WORD
            v[3] = _rotated(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & WORD
            v[3] = _rotated(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & WORD
            v[1] = _rotated(v[1], 17) ^ v[2]
            v[2] = _rotated(v[2], 32)

    padded = data.ljust(len(data) // 8 * 8 + 7, b"\0") + bytes([len(data) & 255])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def rows_of(number: int, secret: int, members: list[bytes]) -> list[bytes]:
    return [siphash(secret, number, member).to_bytes(8, "big") + member for member in members]


def group_of(hashed: int, depth: int, groups: int) -> int:
    return (hashed << depth & WORD) * groups >> 64


def pack(number: int, prefix: int, depth: int, rows: list[bytes]) -> bytes:
    groups = max(1, len(rows))
    parts: list[list[bytes]] = [[] for _ in range(groups)]
    for row in rows:
        parts[group_of(int.from_bytes(row[:8], "big"), depth, groups)].append(
            struct.pack("<H", len(row) - 8) + row[8:]
        )
    records, starts = b"", [0]
    for part in parts:
        records += b"".join(part)
        starts.append(len(records))
    head = HEAD.pack(0, number, prefix, len(rows), groups, depth, 0)
    return head[8:] + struct.pack(f"<{groups + 1}H", *starts) + records


def holds(block: bytes, number: int, secret: int, member: bytes) -> bool:
    """Of a sealed block. Raises ValueError where it isn't one of list `number` that covers the member's hash."""
    hashed = siphash(secret, number, member)
    if len(block) < HEAD.size:
        raise ValueError("no head")
    _, own_number, prefix, _, groups, depth, _ = HEAD.unpack_from(block)
    records = HEAD.size + 2 * (groups + 1)
    if own_number != number or depth > 63 or not groups or len(block) < records:
        raise ValueError("another head")
    if hashed >> 64 - depth != prefix >> 64 - depth:
        raise ValueError("another prefix")
    start, end = struct.unpack_from("<2H", block, HEAD.size + 2 * group_of(hashed, depth, groups))
    if start > end or end > len(block) - records:
        raise ValueError("a group outside")
    part = block[records + start : records + end]
    while part:
        if len(part) < 2 or struct.unpack_from("<H", part)[0] > len(part) - 2:
            raise ValueError("a member outside")
        size = struct.unpack_from("<H", part)[0]
        if part[2 : 2 + size] == member:
            return True
        part = part[2 + size :]
    return False
