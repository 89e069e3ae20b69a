"""Log segments: their header, finding them in a directory, and reading records out of one.

`Scanner` is the decision table of the package's docstring in code: what it takes for a record, a damage, a torn
tail or the end. It never writes. Files are found by header, whatever their name.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from fanion._core import journal_format
from fanion.errors import JournalError
from fanion.journal.storage import Buffer, Storage

PAGE = 4096
START = 8192
"""Offset of the first record: page 0 is the header and its copy, page 1 the seal."""
HEADER_COPY = 3584
HEADER = struct.Struct("<QII16sQQQQQQII40x")
SEGMENT_MAGIC = int.from_bytes(b"FNANLOG1", "little")
VERSION = 2
READS = frozenset({1, 2})
"""Version 1 had no exposures."""
FLAG_COMPRESSED = 1
SEQUENCE_END = 2**64 - 1
WINDOW_BYTES = 1 << 20
RECORD_ALIGN = 32
MOVED_MAX = 100
"""Times that a listing is made anew because a file of it was gone when it was to be opened."""
PENDING_UNKNOWN = 0xFFFFFF
"""A record's pending count that says only "this many or more"."""

KIND_EVENTS, KIND_PADDING, KIND_INDEX, KIND_EXPOSURES = 1, 2, 3, 4


def checksum_around(packed: bytes, seed: int = 0) -> int:
    """CRC-32C of a packed struct without bytes 12-15, where all of the journal's headers keep it."""
    return journal_format.crc32c(packed[16:], journal_format.crc32c(packed[:12], seed))


class SegmentHeader(msgspec.Struct, frozen=True):
    """The fields of fanion_segment_header, which explains them."""

    machine: bytes
    salt: int
    ordinal: int
    epoch: int
    first_sequence: int
    life: int
    created_ns: int
    writer: int
    flags: int = 0

    @property
    def started(self) -> bool:
        return self.first_sequence > 0

    @property
    def compressed(self) -> bool:
        return bool(self.flags & FLAG_COMPRESSED)

    def started_at(self, first_sequence: int) -> SegmentHeader:
        """The header once its first group is durable."""
        return msgspec.structs.replace(self, first_sequence=first_sequence)

    def pack(self) -> bytes:
        fields = (self.machine, self.salt, self.ordinal, self.epoch, self.first_sequence, self.life)
        plain = HEADER.pack(SEGMENT_MAGIC, VERSION, 0, *fields, self.created_ns, self.writer, self.flags)
        checksum = checksum_around(plain)
        return plain[:12] + checksum.to_bytes(4, "little") + plain[16:]

    def page(self) -> bytes:
        """One page with the header and its copy."""
        header = self.pack()
        return header.ljust(HEADER_COPY, b"\0") + header.ljust(PAGE - HEADER_COPY, b"\0")


def parse_header(page: bytes) -> SegmentHeader | None:
    """The header of a file's first page; of two valid copies the one with the higher life (or started).

    None: no copy is valid. JournalError: a valid header of a newer version.
    """
    found: list[SegmentHeader] = []
    for at in (0, HEADER_COPY):
        part = page[at : at + HEADER.size]
        if len(part) < HEADER.size:
            continue
        magic, version, checksum, *fields = HEADER.unpack(part)
        if magic != SEGMENT_MAGIC or checksum != checksum_around(part):
            continue
        if version not in READS:
            raise JournalError(
                f"a log segment of format {version}, this Fanion reads up to {VERSION}; run the newer Fanion"
            )
        found.append(SegmentHeader(*fields))
    return max(found, key=lambda header: (header.life, header.first_sequence), default=None)


def new_salt(storage: Storage) -> int:
    """A random salt whose low half, the marker of records, is not zero."""
    while True:
        salt = int.from_bytes(storage.random(8), "little")
        if salt & 0xFFFFFFFF:
            return salt


class Segment(NamedTuple):
    """A segment in a directory, as its header says."""

    path: Path
    header: SegmentHeader


def list_segments(
    storage: Storage, directory: Path, known: dict[str, SegmentHeader] | None = None
) -> tuple[list[Segment], list[Path]]:
    """Every segment of the journal by (writer, ordinal), and the files that should be one but have no header.

    Retention works on meanwhile: a plain file that goes after its name was listed has a compressed twin whose name
    was not, so the directory is listed anew until neither happens. JournalError when that takes too long.
    `known`: headers by name that an earlier listing found, and that this one adds to: a started segment's header
    and name stay what they are until the file is gone, so a live reader opens only what is new.
    """
    for _ in range(MOVED_MAX):
        names = storage.list_directory(directory)
        try:
            found = _read_segments(storage, directory, names, known)
        except FileNotFoundError:
            continue
        if set(names).issuperset(name for name in storage.list_directory(directory) if name.endswith(".zst")):
            return found
    raise JournalError(f"{directory}: its files change faster than they can be listed")


def _read_segments(
    storage: Storage, directory: Path, names: list[str], known: dict[str, SegmentHeader] | None
) -> tuple[list[Segment], list[Path]]:
    """FileNotFoundError: one of them is gone."""
    segments: dict[tuple[int, int, int, int], Segment] = {}
    strange: list[Path] = []
    for name in sorted(names):
        if not name.endswith((".log", ".zst")):
            continue
        path = directory / name
        header = known.get(name) if known else None
        if header is None:
            header = _read_header(storage, path)
        if header is None:
            strange.append(path)
            continue
        if known is not None and header.started:
            known[name] = header
        key = (header.writer, header.ordinal, header.epoch, header.first_sequence)
        twin = segments.get(key)
        if twin is None or (header.compressed and not twin.header.compressed):
            segments[key] = Segment(path, header)
    order = sorted(segments.values(), key=lambda s: (s.header.writer, s.header.ordinal, s.header.epoch))
    return order, strange


def _read_header(storage: Storage, path: Path) -> SegmentHeader | None:
    fd = storage.open(path, write=False)
    try:
        return parse_header(storage.pread(fd, PAGE, 0))
    finally:
        storage.close(fd)


class Source:
    """Bytes of one open segment by offset; the plain kind. Used as a context manager."""

    def __init__(self, storage: Storage, path: Path) -> None:
        self._storage = storage
        self.path = path
        self.fd = storage.open(path, write=False)
        self._window = memoryview(b"")

    def read(self, offset: int, size: int) -> bytes:
        return self._storage.pread(self.fd, size, offset)

    def window(self, offset: int, size: int) -> Buffer:
        """The same, in a buffer that the next call overwrites: fresh memory costs more than reading into it."""
        if len(self._window) < size:
            self._window = memoryview(bytearray(size))
        return self._window[: self._storage.pread_into(self.fd, self._window[:size], offset)]

    @property
    def size(self) -> int:
        return self._storage.size(self.fd)

    @property
    def in_place(self) -> bool:
        """Whether the open file still has its name. Retention takes the name away before it changes a byte, so what
        was read of a file that has it is what the segment holds."""
        return self._storage.same_file(self.fd, self.path)

    def written(self) -> list[tuple[int, int]]:
        """Where the file isn't a hole now: (start, end) in order."""
        return self._storage.written(self.fd)

    def close(self) -> None:
        self._storage.close(self.fd)

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Run(NamedTuple):
    """Records of consecutive sequences: buffer[start:end], whose first byte stands at `base` in the file. The
    buffer is the scanner's and holds them until it is asked for the next part."""

    buffer: Buffer
    start: int
    end: int
    base: int
    sequence: int
    next_sequence: int


class Damage(NamedTuple):
    """Bytes of a segment that no longer hold the records that they held."""

    offset: int
    end_offset: int
    sequence: int
    next_sequence: int


class Scanner:
    """Reads one segment from `offset`, where `sequence` is expected.

    `limit`: sequences from here on do not exist (the next segment's first, or behind the durable one).
    `proven`: sequences below this are known to have been durable, so their lack is damage, not a torn tail.
    After iterating, `end` says why it ended: limit, sealed, torn, clean or missing; `sequence` and `offset` where.
    """

    def __init__(
        self,
        source: Source,
        salt: int,
        sequence: int,
        *,
        offset: int = START,
        limit: int = SEQUENCE_END,
        proven: int = 0,
    ) -> None:
        self._source = source
        self._salt = salt
        self.sequence = sequence
        self.offset = offset
        self._limit = limit
        self._proven = proven
        self._written: list[tuple[int, int]] = []
        self.end = ""
        self.records = 0
        self.first_ns = 2**64 - 1
        self.last_ns = 0

    def __iter__(self) -> Iterator[Run | Damage]:
        window = WINDOW_BYTES
        # Before anything is read: reading ahead fills holes with zeros.
        self._written = self._source.written()
        base, buffer = self.offset, self._source.window(self.offset, window)
        while True:
            start = self.offset - base
            first = self.sequence
            result, end, self.sequence, _, first_ns, last_ns, records = journal_format.walk(
                buffer, start, first, self._salt, self._limit
            )
            self.offset = base + end
            if records:
                self.records += records
                self.first_ns = min(self.first_ns, first_ns)
                self.last_ns = max(self.last_ns, last_ns)
                yield Run(buffer, start, end, base, first, self.sequence)
            if result == journal_format.LIMIT:
                self.end = "limit"
                return
            if result == journal_format.INDEX:
                self.end = "sealed"
                return
            if result == journal_format.MORE and base + len(buffer) < self._source.size:
                window = WINDOW_BYTES if end > 0 else window * 4
                base, buffer = self.offset, self._source.window(self.offset, window)
                continue
            damage = self._resynchronise()
            if damage is None:
                return
            yield damage
            if self.end:
                return
            base, buffer = self.offset, self._source.window(self.offset, window)

    def _resynchronise(self) -> Damage | None:
        """No record of the wanted sequence stands here: damage with something behind it, or an end."""
        begin, missing = self.offset, self.sequence
        behind = self._candidate_behind(begin, missing - 1)
        rest = self._source.read(behind, self._source.size - behind)
        at, _ = journal_format.resync(rest, 0, self._salt, missing - 1, self._limit)
        known = max(self._proven, self._limit if self._limit != SEQUENCE_END else 0)
        if missing >= known:
            known = self._durable_behind(rest, at) + 1
        if missing >= known:
            torn = at >= 0 or any(self._source.read(begin, RECORD_ALIGN))
            self.end = "torn" if torn else "clean"
            return None
        found = journal_format.read_record(rest, at, self._salt) if at >= 0 else None
        if found is None:
            self.end = "missing"
            self.sequence = known
            return Damage(begin, begin, missing, known)
        self.sequence = found[2]
        self.offset = behind + at
        return Damage(begin, self.offset, missing, self.sequence)

    def _candidate_behind(self, begin: int, above: int) -> int:
        """Where the first record behind may begin; the file's end when there is none."""
        for start, end in self._written:
            at = max(begin, start // RECORD_ALIGN * RECORD_ALIGN)
            while at < end:
                buffer = self._source.read(at, WINDOW_BYTES)
                if not buffer:
                    break
                candidates = journal_format.resync(buffer, 0, self._salt, above, self._limit)
                if max(candidates) >= 0:
                    return at + min(candidate for candidate in candidates if candidate >= 0)
                at += len(buffer)
        return self._source.size

    def _durable_behind(self, rest: bytes, at: int) -> int:
        """The highest sequence that records from `at` on prove to have been durable before they were written."""
        highest = 0
        while at >= 0:
            record = journal_format.read_record(rest, at, self._salt)
            if record is None:
                break
            kind, pending, sequence, _, _, length = record
            if kind == KIND_INDEX:
                return max(highest, sequence - 1)
            if pending < PENDING_UNKNOWN:
                highest = max(highest, sequence - 1 - pending)
            behind = at + journal_format.record_span(length)
            at, _ = journal_format.resync(rest, behind, self._salt, sequence, self._limit)
        return highest
