"""Blocks of list segments as objects: groups of them by the first bits of their hashes, and an index of the groups.

A block is the same bytes on every machine, since numbers and secrets of lists travel. A group has the blocks whose
prefixes begin with its bits, so a member that comes or goes changes one group: that and the index are all that is
sent for it. An index keeps its bits until groups have become four times as large or as small as they should be.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from fanion.errors import PlaceError
from fanion.store.installation import ChangedBlocks
from fanion.store.layout import prefix_of

GROUP_BYTES: Final = 128 * 1024
BITS_MAX: Final = 24
TOLERANCE: Final = 2
"""Bits that an index may be off."""

Block = tuple[bytes, bytes]


class Index(msgspec.Struct, frozen=True, array_like=True):
    """`groups`: the first bits of its hashes -> the address of its blocks, of those groups that have some."""

    bits: int
    groups: dict[int, str]


_encode = msgspec.msgpack.Encoder().encode
_decode_index = msgspec.msgpack.Decoder(Index).decode
_decode_group = msgspec.msgpack.Decoder(list[tuple[bytes, bytes]]).decode


def groups_of(blocks: Iterable[tuple[bytes, bytes]], bits: int) -> Iterator[tuple[int, bytes]]:
    """Each group's number and its encoded blocks. `blocks`: all of a list, in the order of their keys."""
    for group, some in itertools.groupby(blocks, key=lambda block: prefix_of(block[1]) >> 64 - bits):
        yield group, _encode([(key, bytes(value)) for key, value in some])


def bits_for(total_bytes: int, before: int | None) -> int:
    """How many bits tell groups apart."""
    best = min(BITS_MAX, (total_bytes // GROUP_BYTES).bit_length())
    return before if before is not None and abs(best - before) <= TOLERANCE else best


def encode_index(index: Index) -> bytes:
    return _encode(index)


def decode_index(plain: bytes) -> Index:
    """Raises PlaceError."""
    try:
        index = _decode_index(plain)
    except msgspec.MsgspecError as error:
        raise PlaceError(f"an index of a list can't be read: {error}") from None
    if not 0 <= index.bits <= BITS_MAX or any(not 0 <= group < 1 << index.bits for group in index.groups):
        raise PlaceError("an index of a list names groups that can't be")
    return index


def decode_group(plain: bytes, group: int, bits: int) -> list[Block]:
    """Raises PlaceError."""
    try:
        blocks = _decode_group(plain)
    except msgspec.MsgspecError as error:
        raise PlaceError(f"blocks of a list can't be read: {error}") from None
    if any(len(value) < 32 or prefix_of(value) >> 64 - bits != group for _, value in blocks):
        raise PlaceError("blocks of a list lie in a group that isn't theirs")
    return blocks


class Difference(NamedTuple):
    """What to fetch of a list, and which groups are no more."""

    wanted: dict[int, str]
    gone: list[int]


def difference(
    index: Index, own: Iterable[tuple[bytes, bytes]], address: Callable[[bytes], str]
) -> Difference:
    """`own`: the blocks of the list that are here already."""
    have = {group: address(encoded) for group, encoded in groups_of(own, index.bits)}
    wanted = {group: name for group, name in index.groups.items() if have.get(group) != name}
    return Difference(wanted, sorted(have.keys() - index.groups.keys()))


def changed_blocks(group: int, bits: int, blocks: list[Block]) -> ChangedBlocks:
    return ChangedBlocks(group << 64 - bits, group + 1 << 64 - bits, blocks)
