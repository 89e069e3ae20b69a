"""A unit leaves the log segments: each segment that holds it is written anew beside itself and takes its own name.

Records keep their length (`erasing`), so everything else of a segment stays where it was, and a kill at any moment
leaves the old file or the new one; the next run begins again and finds less to do. A reader that has the old file
open ends with it. Retention stays out meanwhile, by its lock.

Whose segments: those of slots without an owner, which are drained and held here until the end, so that their rings
can go; and of living writers all that they have finished, after they were asked to turn (`turning`): begin a fresh
segment and wipe what their rings still show of the past. What lies in the directory beside segments, the pool's
files and drafts, has earlier lives' bytes and is removed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from fanion._core import journal_format
from fanion.errors import JournalError
from fanion.journal.compression import DRAFT_PREFIX, is_draft_name, open_source, write_frames
from fanion.journal.erasing import Rewritten, erase, find_holes
from fanion.journal.files import (
    is_pool_name,
    is_recycled_name,
    random_name,
    remove_drafts,
    remove_segment,
)
from fanion.journal.log_segment import (
    RECORD_ALIGN,
    SEQUENCE_END,
    START,
    WINDOW_BYTES,
    Damage,
    Scanner,
    Segment,
    Source,
    list_segments,
)
from fanion.journal.reader import JournalReader, segment_limits
from fanion.journal.retention import LOCK_NAME, free_removed
from fanion.journal.seal import read_seal
from fanion.journal.session import adopt
from fanion.journal.settings import JournalSettings
from fanion.journal.slot import Slot, list_slots, ring_path
from fanion.journal.storage import Storage, write_all
from fanion.journal.turning import asking_to_turn
from fanion.model.canonical import Canonical
from fanion.model.forgotten import Forms

POLL_S: Final = 0.05
Hole = tuple[str, int, int, int]
"""(machine, writer, sequence, index): the identity of an event that was erased."""


class Forgotten(msgspec.Struct):
    """What was found and done. `holes`: all events that were ever erased, as far as the journal has their places;
    `unturned`: writers that didn't answer, whose unfinished segments are as they were. `unwritable`: records that
    name the unit and can't be written anew."""

    segments: int = 0
    rewritten: int = 0
    events: int = 0
    redacted: int = 0
    holes: set[Hole] = msgspec.field(default_factory=set)
    unturned: list[int] = []
    unwritable: list[str] = []


def count_in_journal(
    storage: Storage, directory: Path, forms: Forms, canonical: Mapping[str, Canonical]
) -> Forgotten:
    """What `forget_in_journal` would do, of everything that is durable now."""
    found = Forgotten()
    reader = JournalReader(directory, storage=storage)
    for segments, end, proven in reader.chains():
        for segment, limit in zip(segments, segment_limits(segments, end), strict=True):
            with open_source(storage, segment.path, segment.header) as source:
                patches = _Patches(source, segment, limit, min(proven, limit), forms, canonical, found)
            found.segments += 1
            found.rewritten += bool(patches.records or patches.blanked)
    return found


def forget_in_journal(
    storage: Storage,
    directory: Path,
    settings: JournalSettings,
    forms: Forms,
    canonical: Mapping[str, Canonical],
    *,
    wait_s: float,
) -> Forgotten:
    """Of the data directory `directory`. JournalError where the journal can't be had in time, or a record can't be
    written anew; what was done until then stands."""
    journal = directory / "journal"
    found = Forgotten()
    with _without_retention(storage, journal, wait_s), ExitStack() as held:
        slots: dict[int, Slot] = {}
        _take_slots(storage, journal, settings, held, slots)
        _remove_earlier_lives(storage, journal)
        living = [writer for writer in list_slots(storage, journal) if writer not in slots]
        with asking_to_turn(storage, journal, living) as asked:
            turned = asked.wait(wait_s)
            _take_slots(storage, journal, settings, held, slots)  # of those that ended meanwhile
            found.unturned = sorted(asked.writers - turned.keys() - slots.keys())
            _rewrite(storage, journal, slots, turned, forms, canonical, found)
        for writer in slots:
            with contextlib.suppress(FileNotFoundError):
                storage.unlink(ring_path(journal, writer))
        _remove_earlier_lives(storage, journal)
        storage.sync_directory(journal)
    return found


@contextmanager
def _without_retention(storage: Storage, journal: Path, wait_s: float) -> Iterator[None]:
    fd = storage.open(journal / LOCK_NAME, create=True)
    try:
        deadline = storage.now() + int(wait_s * 1e9)
        while not storage.lock(fd):
            if storage.now() >= deadline:
                raise JournalError(f"{journal}: its retention is at work; run this again later")
            storage.sleep(POLL_S)
        yield
    finally:
        storage.close(fd)


def _take_slots(
    storage: Storage, journal: Path, settings: JournalSettings, held: ExitStack, slots: dict[int, Slot]
) -> None:
    """Adds slots without an owner whose logs hold everything; nobody claims them until `held` ends. Segments may
    have lost their slot's file, as in a copy: it is made again, empty, to be held."""
    lost = {segment.header.writer for segment in list_segments(storage, journal)[0]}
    for writer in sorted(lost.union(list_slots(storage, journal)) - slots.keys()):
        adopt(storage, journal, writer, settings)
        slot = Slot.take(storage, journal, writer, create=True)
        if slot is None:
            continue
        ring = ring_path(journal, writer).name in storage.list_directory(journal)
        if ring if slot.state is None else not slot.state.clean:  # claimed and left again in between
            slot.release()
            continue
        held.callback(slot.release)
        slots[writer] = slot
        remove_drafts(storage, journal, writer)


def _remove_earlier_lives(storage: Storage, journal: Path) -> None:
    """Names first: a file that a steward or a reader may open by its name loses no byte under it."""
    names = set(storage.list_directory(journal))
    for name in sorted(names):
        twin = name.endswith(".log") and f"{name[:-4]}.zst" in names
        if twin or is_pool_name(name) or is_draft_name(name) or is_recycled_name(name):
            with contextlib.suppress(FileNotFoundError):
                remove_segment(storage, journal / name)
    free_removed(storage, journal)


def _rewrite(
    storage: Storage,
    journal: Path,
    slots: Mapping[int, Slot],
    turned: Mapping[int, int],
    forms: Forms,
    canonical: Mapping[str, Canonical],
    found: Forgotten,
) -> None:
    """`turned`: a living writer's last ordinal of before."""
    chains: dict[int, list[Segment]] = {}
    for segment in list_segments(storage, journal)[0]:
        if segment.header.started:
            chains.setdefault(segment.header.writer, []).append(segment)
        elif segment.header.writer in slots:
            storage.unlink(segment.path)
    for writer, chain in chains.items():
        slot = slots.get(writer)
        end = slot.state.next_sequence if slot is not None and slot.state is not None else SEQUENCE_END
        for number, (segment, limit) in enumerate(zip(chain, segment_limits(chain, end), strict=True)):
            last = number == len(chain) - 1
            if slot is None and (last or segment.header.ordinal > turned.get(writer, segment.header.ordinal)):
                continue
            rewrite_segment(storage, segment, limit, forms, canonical, found)


class _Patches:
    """A segment's records that change, by offset; what else of it has to go; and where its records end."""

    def __init__(
        self,
        source: Source,
        segment: Segment,
        limit: int,
        proven: int,
        forms: Forms,
        canonical: Mapping[str, Canonical],
        found: Forgotten,
    ) -> None:
        self.records: dict[int, bytes] = {}
        self.blanked: list[tuple[int, int]] = []
        self.parts: list[tuple[int, int]] = []
        header = segment.header
        self._segment, self._forms, self._canonical, self._found = segment, forms, canonical, found
        scanner = Scanner(source, header.salt, header.first_sequence, limit=limit, proven=proven)
        for part in scanner:
            if isinstance(part, Damage):
                place = (part.offset, part.end_offset)
                whole = source.read(place[0], place[1] - place[0])
                (self.blanked if forms.occur_in(whole) else self.parts).append(place)
                continue
            self.parts.append((part.base + part.start, part.base + part.end))
            self._add(bytes(part.buffer[part.start : part.end]), part.base + part.start)
        self.end = scanner.offset
        seal = read_seal(source, header)
        if seal is not None and seal.index_offset >= self.end:
            head = source.read(seal.index_offset, RECORD_ALIGN)
            footer = seal.index_offset + journal_format.record_span(int.from_bytes(head[8:12], "little"))
            self.parts.append((seal.index_offset, footer))
            self.end = footer

    def _erased(self, payload: bytes, kind: int, sequence: int) -> Rewritten | None:
        try:
            return erase(payload, kind, self._forms, self._canonical)
        except JournalError as error:
            self._found.unwritable.append(f"record {self._segment.header.writer}/{sequence}: {error}")
            return None

    def _add(self, data: bytes, base: int) -> None:
        header, forms, found = self._segment.header, self._forms, self._found
        named = forms.occur_in(data)
        for kind, sequence, received_ns, start, length in journal_format.list_records(data, 0, len(data)):
            payload = data[start : start + length]
            indexes = find_holes(payload, kind)
            new = self._erased(payload, kind, sequence) if named else None
            if new is not None:
                at = start - journal_format.RECORD_HEADER_BYTES
                pending = int.from_bytes(data[at + 12 : at + 16], "little") >> 8
                self.records[base + at] = bytes(
                    journal_format.make_record(new.payload, kind, sequence, received_ns, header.salt, pending)
                )
                fresh = set(new.erased) - set(indexes)
                found.events += len(fresh)
                found.redacted += new.redacted
                indexes += fresh
            machine = header.machine.hex()
            found.holes.update((machine, header.writer, sequence, index) for index in indexes)


def rewrite_segment(
    storage: Storage,
    segment: Segment,
    limit: int,
    forms: Forms,
    canonical: Mapping[str, Canonical],
    found: Forgotten,
) -> None:
    """A finished segment without the unit; untouched where it has none. Behind its end nothing is left."""
    found.segments += 1
    with open_source(storage, segment.path, segment.header) as source:
        patches = _Patches(source, segment, limit, limit, forms, canonical, found)
        if not (patches.records or patches.blanked):
            if not segment.header.compressed:
                _cut(storage, segment.path, patches.end)
            return
        draft = _draft(storage, segment.path)
        try:
            _copy(storage, source, draft, patches)
            if segment.header.compressed:
                draft = _compress(storage, segment, draft, patches.end)
            storage.rename(draft, segment.path)
        except BaseException:
            with contextlib.suppress(OSError):
                storage.unlink(draft)
            raise
    storage.sync_directory(segment.path.parent)
    found.rewritten += 1


def _draft(storage: Storage, path: Path) -> Path:
    return path.with_name(f"{DRAFT_PREFIX}{random_name(storage)}.tmp")


def _cut(storage: Storage, path: Path, end: int) -> None:
    fd = storage.open(path)
    try:
        if storage.size(fd) > end:
            storage.truncate(fd, end)
    finally:
        storage.close(fd)


def _copy(storage: Storage, source: Source, draft: Path, patches: _Patches) -> None:
    fd = storage.open(draft, create=True)
    try:
        write_all(storage, fd, source.read(0, START), 0)
        for start, end in patches.parts:
            for at in range(start, end, WINDOW_BYTES):
                write_all(storage, fd, source.read(at, min(WINDOW_BYTES, end - at)), at)
        for at, record in patches.records.items():
            write_all(storage, fd, record, at)
        if storage.size(fd) < patches.end:
            storage.truncate(fd, patches.end)
        storage.fdatasync(fd)
    finally:
        storage.close(fd)


def _compress(storage: Storage, segment: Segment, plain: Path, end: int) -> Path:
    """The compressed form under a draft's name; the plain one is gone."""
    target = _draft(storage, segment.path)
    try:
        with Source(storage, plain) as source:
            write_frames(storage, target, source, segment.header, end, lambda _: None)
    except BaseException:
        with contextlib.suppress(OSError):
            storage.unlink(target)
        raise
    storage.unlink(plain)
    return target
