"""Sealing: the index footer behind a finished segment's records, and the seal page that points to it.

A seal is only ever a help: it says what the records say, so that nobody has to read them all to know how many
there are, how far they reach and where a time begins. A segment whose seal is missing or damaged is scanned.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import msgspec

from fanion._core import journal_format
from fanion.journal.log_segment import (
    KIND_INDEX,
    PAGE,
    START,
    Damage,
    Run,
    Scanner,
    SegmentHeader,
    Source,
    checksum_around,
)
from fanion.journal.storage import Storage, write_all

SEAL = struct.Struct("<8sIIQQQQQQ")
SEAL_MAGIC = b"FNANSEAL"
INDEX_STEP_BYTES = 1 << 18
"""One index entry per this many bytes: a time or sequence is found by reading at most this much."""


class Entry(NamedTuple):
    """Where a record begins, and the latest receipt time of all records before it."""

    offset: int
    sequence: int
    latest_ns: int


class Seal(msgspec.Struct, frozen=True):
    """Of a whole segment: `end_sequence` is the first that is not in it."""

    index_offset: int
    end_sequence: int
    records: int
    first_ns: int
    last_ns: int
    payload_bytes: int

    def page(self, salt: int) -> bytes:
        body = (
            self.index_offset,
            self.end_sequence,
            self.records,
            self.first_ns,
            self.last_ns,
            self.payload_bytes,
        )
        plain = SEAL.pack(SEAL_MAGIC, 1, 0, *body)
        checksum = checksum_around(plain, salt >> 32)
        return (plain[:12] + checksum.to_bytes(4, "little") + plain[16:]).ljust(PAGE, b"\0")


def read_seal(source: Source, header: SegmentHeader) -> Seal | None:
    """None: the segment is not sealed (or its seal is damaged, which is the same)."""
    data = source.read(PAGE, SEAL.size)
    if len(data) < SEAL.size or data[:8] != SEAL_MAGIC:
        return None
    _, _, checksum, *fields = SEAL.unpack(data)
    if checksum != checksum_around(data, header.salt >> 32):
        return None
    return Seal(*fields)


_decode_index = msgspec.msgpack.Decoder(list[Entry]).decode  # once, as threads read too


def read_index(source: Source, header: SegmentHeader, seal: Seal) -> list[Entry]:
    """The footer's entries; empty when the footer doesn't verify."""
    data = source.read(seal.index_offset, source.size - seal.index_offset)
    record = journal_format.read_record(data, 0, header.salt)
    if record is None or record[0] != KIND_INDEX:
        return []
    return _decode_index(data[record[4] : record[4] + record[5]])


def build_index(source: Source, header: SegmentHeader, limit: int) -> tuple[Seal, list[Entry]] | None:
    """Reads all records below `limit`. None: the segment is damaged or holds none."""
    scanner = Scanner(source, header.salt, header.first_sequence, limit=limit, proven=limit)
    entries: list[Entry] = []
    latest, next_entry = 0, START
    for part in scanner:
        if isinstance(part, Damage):
            return None
        assert isinstance(part, Run)
        for _, sequence, received_ns, start, _ in journal_format.list_records(
            part.buffer, part.start, part.end
        ):
            offset = part.base + start - journal_format.RECORD_HEADER_BYTES
            if offset >= next_entry:
                entries.append(Entry(offset, sequence, latest))
                next_entry = offset + INDEX_STEP_BYTES
            latest = max(latest, received_ns)
    if not scanner.records:
        return None
    size = scanner.offset - START
    seal = Seal(scanner.offset, scanner.sequence, scanner.records, scanner.first_ns, scanner.last_ns, size)
    return seal, entries


def seal_segment(storage: Storage, path: Path, header: SegmentHeader, limit: int, *, keep_size: int) -> bool:
    """Seals a finished segment of records below `limit`. False: it can't be sealed (damaged, or empty).

    A file that is less than half full is cut to what it holds; a fuller one keeps `keep_size` for recycling.
    """
    with Source(storage, path) as source:
        if read_seal(source, header) is not None:
            return True
        built = build_index(source, header, limit)
        size = source.size
    if built is None:
        return False
    seal, entries = built
    footer = journal_format.make_record(
        msgspec.msgpack.encode(entries), KIND_INDEX, seal.end_sequence, seal.last_ns, header.salt
    )
    fd = storage.open(path)
    try:
        write_all(storage, fd, footer, seal.index_offset)
        storage.fdatasync(fd)
        write_all(storage, fd, seal.page(header.salt), PAGE)
        storage.fdatasync(fd)
        end = seal.index_offset + len(footer)
        if size > end and (end < size // 2 or size != keep_size):
            storage.truncate(fd, end)
    finally:
        storage.close(fd)
    return True
