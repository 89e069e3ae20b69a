"""Reading the journal: each record exactly once by (writer, sequence), from several writers, live or at rest.

A reader sees only what is durable: below the durable sequence in the ring of a living writer, below the slot's
next sequence after a clean stop, and else what the decision table of the package's docstring takes. It never
writes into the journal, except its own checkpoint when it is registered by a name (retention then waits for it).
A reader may be asked again and again; it goes on where it was. Not for several threads at once.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import struct
from collections import deque
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from fanion._core import journal_format
from fanion._core.record_table import Names, tabulate
from fanion.errors import DamagedFileError, JournalError
from fanion.journal.batch import EVENTS_HEADER, HOLES_AT, Record, RecordBatch
from fanion.journal.compression import open_source
from fanion.journal.files import parse_ring_identity, read_control
from fanion.journal.log_segment import (
    MOVED_MAX,
    SEQUENCE_END,
    START,
    Damage,
    Run,
    Scanner,
    Segment,
    SegmentHeader,
    Source,
    list_segments,
)
from fanion.journal.seal import read_index, read_seal
from fanion.journal.slot import is_owned, list_slots, read_slot, ring_path
from fanion.journal.storage import Buffer, Storage
from fanion.small_files import read_document, replace_file, sealed

RING_HEAD_BYTES = 8192
READERS_DIRECTORY = "readers"
RECORD_HEADER_BYTES = journal_format.RECORD_HEADER_BYTES


RECEIVED = attrgetter("received_ns")


class Defect(NamedTuple):
    """Something that a reader could not read. `sequence` to `next_sequence` - 1 are lost with it."""

    path: Path
    offset: int
    end_offset: int
    writer: int
    sequence: int
    next_sequence: int
    what: str


class Checkpoint(msgspec.Struct):
    """Where a reader is: for each writer the first sequence that it has not seen. `yields`: what is too old or too
    much may leave before this reader has seen it, where the disk has no more room (`retention`, `gaps`). So may
    what is older than `hold_hours`, and the oldest of what is more than `hold_share` of the disk; 0: no bound."""

    machine: str = ""
    next_sequence: dict[int, int] = {}
    yields: bool = False
    hold_hours: float = 0.0
    hold_share: float = 0.0


class _Position:
    """Where the reader stands in one writer's chain: the offset of `sequence` in the segment of that ordinal."""

    def __init__(self, sequence: int) -> None:
        self.move(sequence, 0, START)

    def move(self, sequence: int, ordinal: int, offset: int) -> None:
        self.sequence, self.ordinal, self.offset = sequence, ordinal, offset


_Stretch = tuple[SegmentHeader, _Position, Run]
"""Records of one segment, and what moves on when they are handed out."""
T = TypeVar("T")


def parse_payload(payload: Buffer) -> tuple[str, str, bytes, bytes, bool, bytes]:
    """(dialect, environment, dispositions, ids, whole, body). JournalError for a payload that isn't one."""
    try:
        dialect, environment, dispositions, ids, whole = EVENTS_HEADER.unpack_from(payload)
        at = EVENTS_HEADER.size
        parts = []
        for size in (dialect, environment, dispositions, ids * 16):
            parts.append(bytes(payload[at : at + size]))
            at += size
        if at > len(payload):
            raise JournalError(f"a record's parts take {at} bytes, its payload has {len(payload)}")
        return parts[0].decode(), parts[1].decode(), parts[2], parts[3], bool(whole), bytes(payload[at:])
    except (struct.error, UnicodeDecodeError) as error:
        raise JournalError(f"a record's payload can't be read: {error}") from None


class JournalReader:
    """Of the data directory `directory`. `name`: registers the reader and takes up its last commit."""

    def __init__(
        self,
        directory: Path,
        *,
        storage: Storage | None = None,
        checkpoint: Checkpoint | None = None,
        name: str | None = None,
        yields: bool = False,
        hold_hours: float = 0.0,
        hold_share: float = 0.0,
        since_ns: int = 0,
    ) -> None:
        self._storage = storage or Storage()
        self._directory = directory / "journal"
        self._positions: dict[int, _Position] = {}
        self._since_ns = since_ns
        self._holds = yields, hold_hours, hold_share
        self._headers: dict[str, SegmentHeader] = {}
        self._dialects, self._environments = Names(), Names()
        self.defects: list[Defect] = []
        try:
            self._storage.list_directory(self._directory)
        except FileNotFoundError:
            hint = "name the data directory of a server that ran"
            raise JournalError(f"{directory}: there is no journal; {hint}") from None
        except OSError as error:
            hint = "run this as the user who runs the server"
            raise JournalError(f"{directory}: the journal can't be read: {error.strerror}; {hint}") from None
        if name is not None:
            if not name.replace("-", "").replace("_", "").isalnum():
                raise JournalError(f"reader name {name!r}; allowed: letters, digits, - and _")
            checkpoint = checkpoint or load_checkpoint(self._storage, self._directory, name)
            self._storage.make_directory(self._directory / READERS_DIRECTORY)
            self._commit_path = self._directory / READERS_DIRECTORY / f"{name}.json"
        self._machine = checkpoint.machine if checkpoint else ""
        for writer, sequence in (checkpoint.next_sequence if checkpoint else {}).items():
            self._positions[writer] = _Position(sequence)
        if name is not None:
            self.commit()

    @property
    def checkpoint(self) -> Checkpoint:
        """What has been handed out so far."""
        places = {writer: p.sequence for writer, p in sorted(self._positions.items())}
        return Checkpoint(self._machine, places, *self._holds)

    def commit(self) -> None:
        """Keeps the checkpoint of a registered reader, synced: what is before it may be removed."""
        replace_file(self._storage, self._commit_path, sealed(msgspec.json.encode(self.checkpoint)))

    def read(self, *, by_time: bool = False) -> Iterator[Record]:
        """All records that can be read now and weren't handed out before: writer by writer, or `by_time` of receipt
        over all writers, each one's in sequence either way.

        What can't be read is added to `defects`. A record counts as handed out when the next one is asked for.
        """

        def read(writers: list[Iterator[_Stretch]]) -> Iterator[Record]:
            each = map(self._records, writers)
            return heapq.merge(*each, key=RECEIVED) if by_time else itertools.chain.from_iterable(each)

        return self._read(read)

    def read_batches(self) -> Iterator[RecordBatch]:
        """What `read` hands out, writer by writer and many records at once, without a copy of any.

        A batch holds until the next one is asked for, and counts as handed out then. A record that `read` refuses
        is refused behind the batch of those before it.
        """
        return self._read(lambda writers: itertools.chain.from_iterable(map(self._batches, writers)))

    def _read(self, read: Callable[[list[Iterator[_Stretch]]], Iterator[T]]) -> Iterator[T]:
        for _ in range(MOVED_MAX):
            try:
                yield from read([self._read_writer(*chain) for chain in self.chains()])
                return
            except FileNotFoundError:
                self._headers.clear()
                continue  # retention or compression took a file between listing and opening: list again
        raise JournalError(f"{self._directory}: its files change faster than they can be read")

    def _records(self, stretches: Iterator[_Stretch]) -> Iterator[Record]:
        for header, position, run in stretches:
            for kind, sequence, received_ns, start, length in journal_format.list_records(
                run.buffer, run.start, run.end
            ):
                if sequence < position.sequence:
                    continue
                if received_ns >= self._since_ns:
                    payload = run.buffer[start : start + length]
                    parts = parse_payload(payload)
                    record = Record(header.writer, header.epoch, sequence, received_ns, *parts, kind)
                    yield record._replace(holes=True) if payload[HOLES_AT] else record
                behind = run.base + start - RECORD_HEADER_BYTES + journal_format.record_span(length)
                position.move(sequence + 1, header.ordinal, behind)

    def _batches(self, stretches: Iterator[_Stretch]) -> Iterator[RecordBatch]:
        names = self._dialects, self._environments
        for header, position, run in stretches:
            buffer, count = run.buffer, run.next_sequence - run.sequence
            table = tabulate(buffer, run.start, run.end, count, position.sequence, self._since_ns, *names)
            if len(table):
                texts = (self._dialects.texts, self._environments.texts)
                yield RecordBatch(header.machine, header.writer, header.epoch, buffer, table, *texts)
            next_sequence = run.next_sequence
            if table.end < run.end:
                at = table.end
                _, next_sequence, _, start, length = journal_format.list_records(buffer, at, run.end)[0]
            if position.sequence < next_sequence:
                position.move(next_sequence, header.ordinal, run.base + table.end)
            if table.end < run.end:
                parse_payload(buffer[start : start + length])

    def skip_to_end(self) -> None:
        """Takes everything that is there now for handed out: what follows is new."""
        for segments, end, proven in self.chains():
            writer = segments[0].header.writer
            if end == SEQUENCE_END:
                last = segments[-1]
                with open_source(self._storage, last.path, last.header) as source:
                    scanner = Scanner(source, last.header.salt, last.header.first_sequence, proven=proven)
                    deque(scanner, maxlen=0)
                end = scanner.sequence
            self._positions[writer] = _Position(end)

    def chains(self) -> list[tuple[list[Segment], int, int]]:
        """Each writer's started segments, with its durable end. The ends are read first: whatever they promise is
        in a segment that exists by then."""
        ends = {writer: self._durable_end(writer) for writer in list_slots(self._storage, self._directory)}
        segments, strange = list_segments(self._storage, self._directory, self._headers)
        for path in strange:
            self._report(Defect(path, 0, START, -1, 0, 0, "no valid segment header"))
        chains: dict[int, list[Segment]] = {}
        for segment in segments:
            self._meet(segment.header.machine.hex())
            if segment.header.started:
                chains.setdefault(segment.header.writer, []).append(segment)
        return [(chains[writer], *ends.get(writer, (SEQUENCE_END, 0))) for writer in sorted(chains)]

    def _meet(self, machine: str) -> None:
        """A checkpoint counts only in the journal that it was made in: another one begins at its beginning."""
        if self._machine != machine:
            if self._machine:
                self._positions.clear()
            self._machine = machine

    def _read_writer(self, segments: list[Segment], end: int, proven: int) -> Iterator[_Stretch]:
        writer = segments[0].header.writer
        position = self._positions.get(writer)
        if position is None:
            position = self._positions[writer] = _Position(segments[0].header.first_sequence)
        limits = segment_limits(segments, end)
        for segment, limit in zip(segments, limits, strict=True):
            header = segment.header
            if limit <= max(position.sequence, header.first_sequence):
                continue
            if header.first_sequence > position.sequence:
                what = "sequences are missing before this segment"
                lost = (position.sequence, header.first_sequence)
                self._report(Defect(segment.path, START, START, writer, *lost, what))
                position.sequence = header.first_sequence
            with open_source(self._storage, segment.path, header) as source:
                yield from self._read_segment(
                    segment, source, position, limit, proven if limit == end else limit
                )

    def _read_segment(
        self, segment: Segment, source: Source, position: _Position, limit: int, proven: int
    ) -> Iterator[_Stretch]:
        header = segment.header
        if position.ordinal == header.ordinal:
            sequence, offset = position.sequence, position.offset
        else:
            sequence, offset = self._seek(source, segment, position)
        if sequence >= limit:
            return
        scanner = Scanner(
            source, header.salt, sequence, offset=offset, limit=limit, proven=min(proven, limit)
        )
        for part in scanner:
            if isinstance(part, Damage):
                if not source.in_place:
                    raise FileNotFoundError(str(segment.path))
                lost = (max(part.sequence, position.sequence), part.next_sequence)
                self._report(
                    Defect(
                        segment.path,
                        part.offset,
                        part.end_offset,
                        header.writer,
                        *lost,
                        "records do not verify",
                    )
                )
                position.move(max(position.sequence, part.next_sequence), header.ordinal, part.end_offset)
                continue
            yield header, position, part

    def _seek(self, source: Source, segment: Segment, position: _Position) -> tuple[int, int]:
        """Where to begin in a sealed segment for the wanted sequence and time; its start when there is no index."""
        header = segment.header
        seal = read_seal(source, header)
        if seal is None:
            return header.first_sequence, START
        if self._since_ns > seal.last_ns:
            position.sequence = max(position.sequence, seal.end_sequence)
            return seal.end_sequence, seal.index_offset
        best = (header.first_sequence, START)
        for entry in read_index(source, header, seal):
            if entry.sequence <= position.sequence or entry.latest_ns < self._since_ns:
                best = (entry.sequence, entry.offset)
        if self._since_ns:
            position.sequence = max(position.sequence, best[0])
        return best

    def _durable_end(self, writer: int) -> tuple[int, int]:
        """(the first sequence that may not be read, the first that isn't known to have been durable)."""
        state = read_slot(self._storage, self._directory, writer)
        if state is None:
            return SEQUENCE_END, 0
        if state.clean:
            return state.next_sequence, state.next_sequence
        durable = -1
        with contextlib.suppress(OSError, JournalError):
            fd = self._storage.open(ring_path(self._directory, writer), write=False)
            try:
                head = self._storage.pread(fd, RING_HEAD_BYTES, 0)
            finally:
                self._storage.close(fd)
            if parse_ring_identity(head) is not None:
                durable = read_control(head, "durable")
        proven = max(durable + 1, state.next_sequence)
        # Without an owner the word is only a lower bound: the machine may have ended before its page was written.
        return (
            proven if durable >= 0 and is_owned(self._storage, self._directory, writer) else SEQUENCE_END
        ), proven

    def _report(self, defect: Defect) -> None:
        if defect not in self.defects:
            self.defects.append(defect)


def segment_limits(segments: list[Segment], end: int) -> list[int]:
    """For each segment of one writer, in order, the first sequence that does not exist in it: the least first
    sequence of any later segment, or the log's end."""
    limits, least = [], end
    for segment in reversed(segments):
        limits.append(least)
        least = min(least, segment.header.first_sequence)
    return limits[::-1]


_decode_checkpoint = msgspec.json.Decoder(Checkpoint).decode  # once, as threads read too


def load_checkpoint(storage: Storage, directory: Path, name: str) -> Checkpoint:
    """A registered reader's last commit; an empty one when it never committed."""
    path = directory / READERS_DIRECTORY / f"{name}.json"
    try:
        return read_document(storage, path, _decode_checkpoint)
    except FileNotFoundError:
        return Checkpoint()
    except DamagedFileError as error:
        raise JournalError(
            f"{path}: not a checkpoint: {error}; restore it or remove it to read all again"
        ) from None


def list_checkpoints(storage: Storage, directory: Path) -> dict[str, Checkpoint]:
    """Every registered reader's last commit."""
    try:
        names = storage.list_directory(directory / READERS_DIRECTORY)
    except FileNotFoundError:
        return {}
    found = (name.removesuffix(".json") for name in sorted(names) if name.endswith(".json"))
    return {name: load_checkpoint(storage, directory, name) for name in found}
