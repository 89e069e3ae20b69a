"""What `fanion journal verify` and `stats` tell: defects of every segment, and figures per writer.

`verify_segments` reads everything; `summarise` reads seals where there are any, else scans the segment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from fanion._core import journal_format
from fanion.errors import JournalError
from fanion.journal.batch import HOLES_AT
from fanion.journal.compression import open_source
from fanion.journal.erasing import find_holes
from fanion.journal.files import parse_ring_identity
from fanion.journal.log_segment import Damage, Run, Scanner, Segment
from fanion.journal.reader import RING_HEAD_BYTES, Defect, JournalReader, segment_limits
from fanion.journal.seal import read_seal
from fanion.journal.slot import list_slots, read_slot, ring_path
from fanion.journal.storage import Storage


class Summary(msgspec.Struct):
    """One writer's figures. Times are ns since 1970, 0: none."""

    writer: int
    epoch: int = 0
    segments: int = 0
    compressed: int = 0
    records: int = 0
    payload_bytes: int = 0
    disk_bytes: int = 0
    first_ns: int = 0
    last_ns: int = 0
    ring_used_bytes: int = 0


class Verification:
    """Iterating verifies segment after segment and yields each one's records; `defects` grows with it."""

    def __init__(self, directory: Path, storage: Storage) -> None:
        self._reader = JournalReader(directory, storage=storage)
        self._storage = storage
        self._parts: list[tuple[Segment, int, int]] = []
        self.erased = 0
        """Events that were erased: holes in their records, and no defects."""
        for segments, end, proven in self._reader.chains():
            following = segments[0].header.first_sequence
            for segment, limit in zip(segments, segment_limits(segments, end), strict=True):
                first = segment.header.first_sequence
                if first > following:
                    what = "sequences are missing before this segment"
                    self._reader.defects.append(
                        Defect(segment.path, 0, 0, segment.header.writer, following, first, what)
                    )
                following = max(following, limit)
                self._parts.append((segment, limit, proven if limit == end else limit))

    @property
    def total(self) -> int:
        return len(self._parts)

    @property
    def defects(self) -> list[Defect]:
        return self._reader.defects

    def __iter__(self) -> Iterator[int]:
        for segment, limit, proven in self._parts:
            yield self._verify(segment, limit, proven)

    def _verify(self, segment: Segment, limit: int, proven: int) -> int:
        header = segment.header
        try:
            source = open_source(self._storage, segment.path, header)
        except FileNotFoundError:
            return 0
        with source:
            scanner = Scanner(
                source, header.salt, header.first_sequence, limit=limit, proven=min(proven, limit)
            )
            for part in scanner:
                if isinstance(part, Damage):
                    if not source.in_place:
                        return 0
                    what = "records do not verify"
                    lost = (part.sequence, part.next_sequence)
                    self.defects.append(
                        Defect(segment.path, part.offset, part.end_offset, header.writer, *lost, what)
                    )
                else:
                    self.erased += count_holes(part)
        return scanner.records


def count_holes(run: Run) -> int:
    found = 0
    for kind, _, _, start, length in journal_format.list_records(run.buffer, run.start, run.end):
        if length > HOLES_AT and run.buffer[start + HOLES_AT]:
            found += len(find_holes(bytes(run.buffer[start : start + length]), kind))
    return found


def verify_segments(directory: Path, storage: Storage | None = None) -> Verification:
    """Every started segment of the data directory `directory`. JournalError when there is no journal."""
    return Verification(directory, storage or Storage())


def summarise(directory: Path, storage: Storage | None = None) -> list[Summary]:
    """Figures per writer, in order."""
    system = storage or Storage()
    reader = JournalReader(directory, storage=storage)
    journal = directory / "journal"
    lines: dict[int, Summary] = {}
    for writer in list_slots(system, journal):
        state = read_slot(system, journal, writer)
        line = lines[writer] = Summary(writer, state.epoch if state else 0)
        line.ring_used_bytes = _ring_used(system, journal, writer)
    for segments, end, proven in reader.chains():
        writer = segments[0].header.writer
        line = lines.setdefault(writer, Summary(writer))
        for segment, limit in zip(segments, segment_limits(segments, end), strict=True):
            with contextlib.suppress(FileNotFoundError):
                _add(system, line, segment, limit, proven)
    return [lines[writer] for writer in sorted(lines)]


def count_disk_bytes(directory: Path) -> int:
    """Blocks of every file of the journal: rings, segments made ready and to be recycled as well as records."""
    total = 0
    for path in (directory / "journal").iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_blocks * 512
    return total


def _add(storage: Storage, line: Summary, segment: Segment, limit: int, proven: int) -> None:
    header = segment.header
    with open_source(storage, segment.path, header) as source:
        line.segments += 1
        line.compressed += header.compressed
        line.disk_bytes += storage.size(source.fd)
        seal = read_seal(source, header)
        if seal is not None and seal.end_sequence <= limit:
            figures = (seal.records, seal.payload_bytes, seal.first_ns, seal.last_ns)
        else:
            scanner = Scanner(
                source, header.salt, header.first_sequence, limit=limit, proven=min(proven, limit)
            )
            size = sum(part.end - part.start for part in scanner if not isinstance(part, Damage))
            figures = (scanner.records, size, scanner.first_ns, scanner.last_ns)
    if figures[0]:
        line.records += figures[0]
        line.payload_bytes += figures[1]
        line.first_ns = min(line.first_ns or figures[2], figures[2])
        line.last_ns = max(line.last_ns, figures[3])


def _ring_used(storage: Storage, journal: Path, writer: int) -> int:
    with contextlib.suppress(OSError, JournalError):
        fd = storage.open(ring_path(journal, writer), write=False)
        try:
            head = storage.pread(fd, RING_HEAD_BYTES, 0)
        finally:
            storage.close(fd)
        if parse_ring_identity(head) is not None:
            return int.from_bytes(head[4096:4104], "little") - int.from_bytes(head[4352:4360], "little")
    return 0
