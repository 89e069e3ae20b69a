"""What an object of the archive is: a head that says what it holds, and a packed segment (`journal.packing`)."""

from __future__ import annotations

import hashlib
import re
import struct
from typing import Final

import msgspec

from fanion.errors import ArchiveError
from fanion.journal.log_segment import SegmentHeader
from fanion.journal.packing import Packed

MAGIC: Final = b"FNANARC1"
DIGESTED_FROM: Final = 40
HEAD: Final = struct.Struct("<8s32sQ32s16sI4xQQQQQQQ")
SEQUENCE_MAX: Final = 1 << 62
"""No writer ever comes near: what says so isn't believed, as one that went on behind it would find no numbers."""
NAME: Final = re.compile(r"[0-9]{3}-[0-9]{12}-[0-9]{10}-[0-9]{19}")


class Head(msgspec.Struct, frozen=True):
    """Of records `first` to `next` - 1 of a writer, `lost` of which can't be read. `digest`: of what they hold;
    `salt`: the segment's, which no other segment has."""

    digest: bytes
    machine: bytes
    writer: int
    epoch: int
    ordinal: int
    first: int
    next: int
    records: int
    lost: int
    salt: int

    @property
    def name(self) -> str:
        return f"{self.writer:03d}-{self.ordinal:012d}-{self.epoch:010d}-{self.first:019d}"

    @property
    def key(self) -> tuple[int, int, int, int]:
        """By which a segment is told from others of its machine, in the order of a writer's chain."""
        return self.writer, self.ordinal, self.epoch, self.first


def key_of(header: SegmentHeader) -> tuple[int, int, int, int]:
    return header.writer, header.ordinal, header.epoch, header.first_sequence


def head_of(packed: Packed) -> Head:
    header, extent = packed.header, packed.extent
    return Head(
        digest=packed.digest,
        machine=header.machine,
        writer=header.writer,
        epoch=header.epoch,
        ordinal=header.ordinal,
        first=header.first_sequence,
        next=extent.next_sequence,
        records=extent.records,
        lost=extent.lost,
        salt=header.salt,
    )


def make_object(head: Head, content: bytes) -> bytes:
    place = (head.writer, head.epoch, head.ordinal, head.first, head.next)
    counts = (head.records, head.lost, head.salt)
    plain = HEAD.pack(MAGIC, bytes(32), len(content), head.digest, head.machine, *place, *counts)
    digest = hashlib.sha256(plain[DIGESTED_FROM:])
    digest.update(content)
    return b"".join((plain[:8], digest.digest(), plain[DIGESTED_FROM:], content))


def parse_head(data: bytes, name: str, size: int) -> Head:
    """Of an object of `size` bytes by its first ones, which aren't checked by that. Raises ArchiveError."""
    if len(data) < HEAD.size or not data.startswith(MAGIC):
        raise ArchiveError(f"{name} is no object of an archive, or cut off: {size:,} bytes")
    _, _, length, *fields = HEAD.unpack_from(data)
    head = Head(*fields)
    if size != HEAD.size + length:
        raise ArchiveError(f"{name} has {size:,} bytes; {HEAD.size + length:,} were put there")
    if not head.first <= head.next <= SEQUENCE_MAX:
        raise ArchiveError(
            f"{name} says that it holds records {head.first:,} to {head.next:,}, which can't be"
        )
    if head.name != name:
        raise ArchiveError(f"{name} holds what belongs under the name {head.name}")
    return head


def parse_object(data: bytes, name: str) -> tuple[Head, memoryview]:
    """Head and segment, checked. Raises ArchiveError."""
    head = parse_head(data[: HEAD.size], name, len(data))
    if hashlib.sha256(memoryview(data)[DIGESTED_FROM:]).digest() != data[8:DIGESTED_FROM]:
        raise ArchiveError(f"{name} is damaged: its SHA-256 isn't the one that was put there")
    return head, memoryview(data)[HEAD.size :]
