"""Blocks: whole records of one writer as one message, or one record that is larger in several."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec
import xxhash

from fanion._core.journal_format import RECORD_HEADER_BYTES
from fanion.errors import ShippingError
from fanion.journal.batch import RecordBatch

BLOCK_BYTES: Final = 256 * 1024
"""Records of a block, but for one that is larger alone. 64 KB cost more acknowledgements, 512 KB more when one
is lost."""
PART_BYTES: Final = 512 * 1024
MAGIC: Final = b"FNANBLK1"
HEADER: Final = struct.Struct("<8s16sIHHQQQQ")


class Span(NamedTuple):
    """What a block holds: records `first` to `next` - 1 of a writer, or one part of a record."""

    writer: int
    first: int
    next: int
    part: int = 0
    parts: int = 1


class Block(msgspec.Struct, frozen=True):
    """`data`: the records' bytes."""

    machine: bytes
    epoch: int
    span: Span
    data: bytes

    @property
    def digest(self) -> int:
        return xxhash.xxh64_intdigest(self.data)

    @property
    def id(self) -> str:
        """By which the stream knows it, for a while."""
        span = self.span
        return f"{self.machine.hex()}-{span.writer}-{self.epoch}-{span.first}-{span.next}-{span.part}"

    def pack(self) -> bytes:
        span = self.span
        head = HEADER.pack(
            MAGIC,
            self.machine,
            span.writer,
            span.part,
            span.parts,
            self.epoch,
            span.first,
            span.next,
            self.digest,
        )
        return head + self.data


def sender_of(message: bytes) -> tuple[str, str] | None:
    """Machine and writer that it says it is of, as a subject has them; None: it isn't a block."""
    if len(message) < HEADER.size or not message.startswith(MAGIC):
        return None
    _, machine, writer, *_ = HEADER.unpack_from(message)
    return machine.hex(), str(writer)


def parse_block(message: bytes) -> Block:
    """Raises ShippingError where it is none, or damaged."""
    if len(message) < HEADER.size or not message.startswith(MAGIC):
        raise ShippingError(
            "a message of the stream is no block of records, or was sent by another machine than it says"
        )
    _, machine, writer, part, parts, epoch, first, behind, digest = HEADER.unpack_from(message)
    block = Block(machine, epoch, Span(writer, first, behind, part, parts), message[HEADER.size :])
    most = (
        len(block.data) // RECORD_HEADER_BYTES if parts == 1 else 1
    )  # whoever counts them makes no more room
    if block.digest != digest or part >= parts or not first < behind <= first + most:
        raise ShippingError(f"a block of the stream is damaged: writer {writer}, from {first} on")
    return block


def cut(
    batch: RecordBatch, part_bytes: int = PART_BYTES, block_bytes: int = BLOCK_BYTES, *, until: int = 0
) -> Iterator[Block]:
    """A batch's records, copied, in sequence; those before the sequence `until`, if it isn't 0."""
    begins = ends = first = behind = 0
    for row in range(len(batch.table)):
        sequence = batch.table.sequence[row]
        if until and sequence >= until:
            break
        start, end = batch.span(row)
        if first and (start != ends or end - begins > block_bytes):
            yield from _blocks(batch, begins, ends, first, behind, part_bytes)
            first = 0
        if not first:
            begins, first = start, sequence
        ends, behind = end, sequence + 1
    if first:
        yield from _blocks(batch, begins, ends, first, behind, part_bytes)


def _blocks(
    batch: RecordBatch, begins: int, ends: int, first: int, behind: int, part_bytes: int
) -> Iterator[Block]:
    parts = max(1, -(-(ends - begins) // part_bytes))
    for part in range(parts):
        start = begins + part * part_bytes
        data = bytes(batch.buffer[start : min(ends, start + part_bytes)])
        span = Span(batch.writer, first, behind, part, parts)
        yield Block(batch.machine, batch.epoch, span, data)
