"""A finished segment as bytes for elsewhere: what an archive keeps of it, the same whenever it is made.

They are a compressed segment's file (`compression`) of the records that exist, whatever the segment's own file is
at the time: plain, with the bytes of an earlier life behind its end, or compressed. Index and seal are made anew. A
segment that is damaged keeps its bytes as they stand, so that whoever reads them finds the same damage, and has no
seal.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

from fanion._core import journal_format
from fanion.journal.compression import open_source, pack_frames
from fanion.journal.log_segment import (
    FLAG_COMPRESSED,
    KIND_INDEX,
    PAGE,
    SEQUENCE_END,
    START,
    Damage,
    Scanner,
    Segment,
    SegmentHeader,
    Source,
)
from fanion.journal.seal import build_index
from fanion.journal.storage import Storage


class Extent(NamedTuple):
    """What a segment holds: `records` of the sequences before `next_sequence`, `lost` of them can't be read, up to
    the offset `end`."""

    next_sequence: int
    records: int
    lost: int
    end: int


class Packed(NamedTuple):
    """`content`: the bytes. `digest`: SHA-256 of what they hold, which stays when compression changes."""

    header: SegmentHeader
    extent: Extent
    content: bytes
    digest: bytes


def measure(source: Source, header: SegmentHeader, limit: int) -> Extent:
    """Reads all records below `limit`, as a reader does who knows that they were durable."""
    proven = 0 if limit == SEQUENCE_END else limit
    scanner = Scanner(source, header.salt, header.first_sequence, limit=limit, proven=proven)
    lost = sum(part.next_sequence - part.sequence for part in scanner if isinstance(part, Damage))
    return Extent(scanner.sequence, scanner.records, lost, scanner.offset)


def pack_segment(storage: Storage, segment: Segment, limit: int) -> Packed:
    """Of records below `limit`. FileNotFoundError: it was compressed, written anew or removed meanwhile."""
    header = segment.header
    with open_source(storage, segment.path, header) as source:
        built = build_index(source, header, limit)
        if built is None:
            extent, seal, footer = measure(source, header, limit), bytes(PAGE), bytearray()
        else:
            found, entries = built
            extent = Extent(found.end_sequence, found.records, 0, found.index_offset)
            seal = found.page(header.salt)
            footer = journal_format.make_record(
                msgspec.msgpack.encode(entries), KIND_INDEX, found.end_sequence, found.last_ns, header.salt
            )
        header = msgspec.structs.replace(header, flags=header.flags | FLAG_COMPRESSED)
        head = header.page() + seal
        digest = hashlib.sha256(head)

        def read(offset: int, size: int) -> bytes:
            piece = source.read(offset, min(size, extent.end - offset)) if offset < extent.end else b""
            at = max(offset - extent.end, 0)
            piece += footer[at : at + size - len(piece)]
            digest.update(piece)
            return piece

        content = head + b"".join(frame for frame, _ in pack_frames(read, extent.end + len(footer)))
        if not source.in_place:
            raise FileNotFoundError(2, "changed while it was read", str(segment.path))
    return Packed(header, extent, content, digest.digest())


def payloads(storage: Storage, segment: Segment, limit: int, first: int, behind: int) -> dict[int, bytes]:
    """A digest of each record from the sequence `first` to `behind` - 1 that can be read."""
    found: dict[int, bytes] = {}
    with open_source(storage, segment.path, segment.header) as source:
        header = segment.header
        for part in Scanner(source, header.salt, header.first_sequence, limit=min(limit, behind)):
            if isinstance(part, Damage):
                continue
            for kind, sequence, received, start, length in journal_format.list_records(
                part.buffer, part.start, part.end
            ):
                if sequence >= first:
                    said = b"%d %d %d " % (kind, sequence, received) + bytes(
                        part.buffer[start : start + length]
                    )
                    found[sequence] = hashlib.sha256(said).digest()
    return found


assert START == 2 * PAGE
