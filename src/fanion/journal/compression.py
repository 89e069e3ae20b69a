"""Compressed segments: their bytes, reading them, making them.

A compressed segment has the first two pages of the plain one (the header with the flag set), then frames: sizes
(compressed, plain; 32 bits each), CRC-32C of the compressed bytes, and one zstd frame of at most FRAME_BYTES of
the records. Offsets stay those of the plain segment, so that indexes and checkpoints hold for both.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import zstandard

from fanion._core import journal_format
from fanion.journal.files import random_name
from fanion.journal.log_segment import FLAG_COMPRESSED, PAGE, START, Segment, SegmentHeader, Source
from fanion.journal.seal import Seal
from fanion.journal.storage import Buffer, Storage, write_all

FRAME = struct.Struct("<III")
FRAME_BYTES = 1 << 20
SYNC_STEP_BYTES = 4 << 20
"""Written bytes between two syncs: the writer's own fdatasync must not wait behind a large flush."""
DRAFT_PREFIX = "compress-"
LEVEL = 3
"""zstd's default: about 8 times smaller for event batches at 300 MB/s; higher levels gain a few per cent."""


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

    def written(self) -> list[tuple[int, int]]:
        return [(0, self._size)]

    def read(self, offset: int, size: int) -> bytes:
        parts = []
        if offset < START:
            parts.append(super().read(offset, min(size, START - offset)))
        end = min(offset + size, self._size)
        for number, (plain, plain_size, *_) in enumerate(self._frames):
            if plain + plain_size <= offset or plain >= end:
                continue
            parts.append(self._frame(number)[max(offset - plain, 0) : end - plain])
        return b"".join(parts)

    def window(self, offset: int, size: int) -> Buffer:
        return self.read(offset, size)

    def _frame(self, number: int) -> bytes:
        if self._cached[0] != number:
            _, plain_size, at, size, checksum = self._frames[number]
            data = self._storage.pread(self.fd, size, at)
            plain = bytes(plain_size)
            if journal_format.crc32c(data) == checksum:
                with contextlib.suppress(zstandard.ZstdError):
                    # What a frame says of its size goes before the bound below, and is taken from memory at once.
                    if zstandard.frame_content_size(data) in (-1, plain_size):
                        found = self._decompressor.decompress(data, max_output_size=plain_size)
                        plain = found if len(found) == plain_size else plain
            self._cached = (number, plain)
        return self._cached[1]


def is_draft_name(name: str) -> bool:
    """A twin that is being made, or was when its process ended."""
    return name.startswith(DRAFT_PREFIX) and name.endswith(".tmp")


def open_source(storage: Storage, path: Path, header: SegmentHeader) -> Source:
    """The segment's bytes, whichever kind it is."""
    return CompressedSource(storage, path) if header.compressed else Source(storage, path)


def compress_segment(
    storage: Storage, segment: Segment, seal: Seal, step: Callable[[int], None] = lambda _: None
) -> Path:
    """Writes the compressed twin of a sealed segment, reads it back, and gives it its name; the plain file is left
    to the caller. `step` is called with the bytes of each frame, to pace or to end (by raising)."""
    draft = segment.path.with_name(f"{DRAFT_PREFIX}{random_name(storage)}.tmp")
    target = segment.path.with_suffix(".zst")
    header = msgspec.structs.replace(segment.header, flags=segment.header.flags | FLAG_COMPRESSED)
    try:
        with Source(storage, segment.path) as source:
            end = seal.index_offset + _index_span(source, seal)
            write_frames(storage, draft, source, header, end, step)
            _compare(storage, draft, source, end)
        storage.rename(draft, target)
        storage.sync_directory(target.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            storage.unlink(draft)
        raise
    return target


def _index_span(source: Source, seal: Seal) -> int:
    head = source.read(seal.index_offset, journal_format.RECORD_HEADER_BYTES)
    return journal_format.record_span(int.from_bytes(head[8:12], "little"))


def pack_frames(read: Callable[[int, int], bytes], end: int) -> Iterator[tuple[bytes, int]]:
    """Each frame of what `read` gives (offset, size) from the first record up to `end`, and its plain bytes."""
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=False, write_content_size=True)
    for offset in range(START, end, FRAME_BYTES):
        plain = read(offset, min(FRAME_BYTES, end - offset))
        packed = compressor.compress(plain)
        yield FRAME.pack(len(packed), len(plain), journal_format.crc32c(packed)) + packed, len(plain)


def write_frames(
    storage: Storage,
    draft: Path,
    source: Source,
    header: SegmentHeader,
    end: int,
    step: Callable[[int], None],
) -> None:
    """The compressed file of what `source` has up to `end`, under the draft's name, synced."""
    fd = storage.open(draft, create=True)
    try:
        write_all(storage, fd, header.page() + source.read(PAGE, PAGE), 0)
        at, synced = START, START
        for frame, size in pack_frames(source.read, end):
            write_all(storage, fd, frame, at)
            at += len(frame)
            if at - synced >= SYNC_STEP_BYTES:
                storage.fdatasync(fd)
                synced = at
            step(size)
        storage.fdatasync(fd)
    finally:
        storage.close(fd)


def _compare(storage: Storage, draft: Path, source: Source, end: int) -> None:
    with CompressedSource(storage, draft) as packed:
        for offset in range(START, end, FRAME_BYTES):
            size = min(FRAME_BYTES, end - offset)
            if packed.read(offset, size) != source.read(offset, size):
                raise OSError(5, f"a compressed segment reads back differently at offset {offset}")
