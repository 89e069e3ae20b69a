"""Recovery is the normal start: what a claimed slot's log and ring hold after any end, clean or not.

Called with the slot's lock. Raises the epoch first, so that nothing of an earlier owner counts beside what is
decided here. What the ring still holds is written again to a segment of its own (the rule of a failed sync: the
ring holds exactly what must be written again), its records first and its header's first sequence last. Errors are
OSError or JournalError, and everything may be tried again: nothing is destroyed before it is safe elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from fanion._core import journal_format
from fanion._core import ring as ring_module
from fanion.journal.files import SegmentMaker, parse_ring_identity, read_control, remove_drafts
from fanion.journal.log_segment import START, Damage, Scanner, Segment, Source, list_segments
from fanion.journal.slot import Slot, ring_path
from fanion.journal.storage import Storage, read_file, write_all


class Recovered(NamedTuple):
    """What a slot was left with. `unused`: segments that were made ready and never started."""

    epoch: int
    next_sequence: int
    ordinal: int
    moved: int
    torn: bool
    damages: list[Damage]
    unused: list[Path]


class LogEnd(NamedTuple):
    """The last valid sequence of a writer's log."""

    sequence: int
    torn: bool
    synced: bool
    damages: list[Damage]


def recover(storage: Storage, slot: Slot, machine: bytes, maker: SegmentMaker) -> Recovered:
    """Brings the slot's log to its end: afterwards it holds every record below `next_sequence`, durably, and the
    ring may be begun anew."""
    remove_drafts(storage, slot.directory, slot.writer)
    mine = [s for s in list_segments(storage, slot.directory)[0] if s.header.writer == slot.writer]
    started = [segment for segment in mine if segment.header.started]
    unused = [segment.path for segment in mine if not segment.header.started]
    ordinal = max((segment.header.ordinal for segment in mine), default=0)
    ring = _read_ring(storage, ring_path(slot.directory, slot.writer))
    identity = parse_ring_identity(ring)
    state = slot.state
    epochs = [segment.header.epoch for segment in mine]
    epoch = 1 + max([*epochs, state.epoch if state else 0, identity.epoch if identity else 0])
    known = state.next_sequence if state else 1
    clean = state is not None and state.clean
    slot.write(
        machine=machine,
        epoch=epoch,
        next_sequence=known,
        ring_bytes=state.ring_bytes if state else 0,
        clean=False,
    )
    if clean:
        return Recovered(epoch, known, ordinal, 0, False, [], unused)
    end = _log_end(storage, started, known)
    data = memoryview(b"")
    found: dict[int, tuple[int, int]] = {}
    freed = 0
    if identity is not None:
        data = memoryview(ring)[ring_module.DATA_OFFSET : ring_module.DATA_OFFSET + identity.capacity]
        freed = read_control(ring, "freed_sequence")
        found = journal_format.scan_ring(data, identity.salt, min(freed, end.sequence) if end.synced else 0)
    first = _first_to_write(found, freed, end)
    sequence = first
    while sequence in found:
        sequence += 1
    if sequence > first:
        ordinal += 1
        records = [found[n][0] for n in range(first, sequence)]
        _write_segment(storage, maker, slot, machine, epoch, ordinal, data, records, first)
    return Recovered(
        epoch, max(sequence, end.sequence + 1), ordinal, sequence - first, end.torn, end.damages, unused
    )


def _read_ring(storage: Storage, path: Path) -> bytes:
    try:
        return read_file(storage, path)
    except FileNotFoundError:
        return b""


def _log_end(storage: Storage, started: list[Segment], known: int) -> LogEnd:
    """Scans the last started segment: all before its first sequence was durable when it was started. Its pages
    may still be in memory only, so it is synced before anything is built on it."""
    if not started:
        return LogEnd(known - 1, False, True, [])
    last = started[-1]
    damages = []
    with Source(storage, last.path) as source:
        scanner = Scanner(source, last.header.salt, last.header.first_sequence)
        for part in scanner:
            if isinstance(part, Damage):
                damages.append(part)
    synced = True
    try:
        fd = storage.open(last.path)
        try:
            storage.fdatasync(fd)
        finally:
            storage.close(fd)
    except OSError:
        synced = False
    return LogEnd(max(scanner.sequence, known) - 1, scanner.end == "torn", synced, damages)


def _first_to_write(found: dict[int, tuple[int, int]], freed: int, end: LogEnd) -> int:
    """The first record to write again: the oldest that the ring had not let go, provided that the ring holds
    everything from there to the log's end; else the first behind the log's end."""
    first = end.sequence + 1
    if freed < end.sequence and all(sequence in found for sequence in range(freed + 1, first)):
        return freed + 1
    while not end.synced and first - 1 in found:
        first -= 1
    return first


def _write_segment(
    storage: Storage,
    maker: SegmentMaker,
    slot: Slot,
    machine: bytes,
    epoch: int,
    ordinal: int,
    data: memoryview,
    records: list[int],
    first: int,
) -> None:
    ready = maker.make(machine=machine, writer=slot.writer, epoch=epoch, ordinal=ordinal, zeroed=False)
    try:
        offset = START
        for pending, at in enumerate(records):
            record = journal_format.stamp(data, at, ready.header.salt, pending)
            write_all(storage, ready.fd, record, offset)
            offset += len(record)
        storage.fdatasync(ready.fd)
        started = ready.header.started_at(first)
        write_all(storage, ready.fd, started.page(), 0)
        storage.fdatasync(ready.fd)
    finally:
        storage.close(ready.fd)
