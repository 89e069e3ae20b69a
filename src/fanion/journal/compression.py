"""Reading segments of either kind, plain or compressed; and the bytes of the compressed kind.

A compressed segment has the first two pages of the plain one (the header with the flag set), then frames: sizes
(compressed, plain; 32 bits each), CRC-32C of the compressed bytes, and one zstd frame of at most FRAME_BYTES of
the records. Offsets stay those of the plain segment, so that indexes and checkpoints hold for both.
"""

from __future__ import annotations

import struct
from pathlib import Path

import zstandard

from fanion._core import journal_format
from fanion.journal.log_segment import START, SegmentHeader, Source
from fanion.journal.storage import Storage

FRAME = struct.Struct("<III")
FRAME_BYTES = 1 << 20


class CompressedSource(Source):
    """A compressed segment, read by the offsets of the plain one. A frame that doesn't verify reads as zeros, so
    that the scanner reports its records as damaged and goes on behind it."""

    def __init__(self, storage: Storage, path: Path) -> None:
        super().__init__(storage, path)
        self._frames: list[
            tuple[int, int, int, int, int]
        ] = []  # plain offset, plain size, offset, size, checksum
        self._cached = (-1, b"")
        self._decompressor = zstandard.ZstdDecompressor()
        at, plain, end = START, START, storage.size(self.fd)
        while at + FRAME.size <= end:
            size, plain_size, checksum = FRAME.unpack(storage.pread(self.fd, FRAME.size, at))
            at += FRAME.size
            if plain_size == 0 or plain_size > FRAME_BYTES or at + size > end:
                break
            self._frames.append((plain, plain_size, at, size, checksum))
            at += size
            plain += plain_size
        self._size = plain

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, size: int) -> bytes:
        parts = []
        if offset < START:
            parts.append(super().read(offset, min(size, START - offset)))
        end = min(offset + size, self._size)
        for number, (plain, plain_size, *_) in enumerate(self._frames):
            if plain + plain_size <= offset or plain >= end:
                continue
            frame = self._frame(number)
            parts.append(frame[max(offset - plain, 0) : end - plain])
        return b"".join(parts)

    def _frame(self, number: int) -> bytes:
        if self._cached[0] != number:
            _, plain_size, at, size, checksum = self._frames[number]
            data = self._storage.pread(self.fd, size, at)
            plain = bytes(plain_size)
            if journal_format.crc32c(data) == checksum:
                plain = self._decompressor.decompress(data, max_output_size=plain_size)
            self._cached = (number, plain)
        return self._cached[1]


def open_source(storage: Storage, path: Path, header: SegmentHeader) -> Source:
    """The segment's bytes, whichever kind it is."""
    return CompressedSource(storage, path) if header.compressed else Source(storage, path)
