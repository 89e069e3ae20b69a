"""Back from an archive: `fanion journal restore`. Segments that a directory doesn't have, each checked whole before
it has its name; what a directory has and reads well stays.

Under the data directory's lock and retention's. Nothing is written before all that the archive says of itself fits
what is there; then slots, so that whatever is killed next, no server gives a sequence twice; then segment by
segment, from drafts that are renamed. Giving the command again goes on where it was.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from fanion.archive import DIRECTORY, READER
from fanion.archive.bucket import Bucket
from fanion.archive.packed import Head, key_of, parse_object
from fanion.archive.state import keep_state, load_state
from fanion.errors import ArchiveError
from fanion.journal.compression import DRAFT_PREFIX, open_source
from fanion.journal.files import SegmentMaker, machine_id, random_name, remove_segment, segment_name
from fanion.journal.log_segment import (
    FLAG_COMPRESSED,
    PAGE,
    SEQUENCE_END,
    Segment,
    SegmentHeader,
    list_segments,
    parse_header,
)
from fanion.journal.packing import measure, payloads
from fanion.journal.reader import Checkpoint, JournalReader, load_checkpoint, segment_limits
from fanion.journal.recovery import recover
from fanion.journal.retention import LOCK_NAME, free_removed
from fanion.journal.settings import JournalSettings
from fanion.journal.slot import Slot, read_slot
from fanion.journal.storage import Storage, write_all
from fanion.small_files import make_file

LEAP: Final = 1_000_000_000_000
"""Sequences that a writer leaves out whose last ones aren't known: more than any archive was ever behind."""
PROBLEMS_MAX: Final = 1_000
Key = tuple[int, int, int, int]
"""`packed.Head.key`."""


class Restored(msgspec.Struct):
    """`kept`: segments that the directory had. `leapt`: writers that go on `LEAP` behind. `problems`: what is
    missing or damaged."""

    segments: int = 0
    records: int = 0
    bytes: int = 0
    kept: int = 0
    leapt: list[int] = []
    problems: list[str] = []

    def add(self, problem: str) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(problem)


class Restoring:
    """Of the data directory `data`, whose lock the caller has. Made, it has looked and written nothing; iterated,
    it restores segment by segment. Raises ArchiveError, JournalError, OSError."""

    def __init__(
        self, storage: Storage, data: Path, settings: JournalSettings, bucket: Bucket, machine: str
    ) -> None:
        self._storage = storage
        self._settings = settings
        self._data = data
        self._journal = data / "journal"
        self._bucket = bucket
        self._machine = machine
        self.found = Restored()
        self._here: dict[Key, tuple[Segment, int]] = {}
        self._heads: list[tuple[Head, int]] = []
        for name, size in bucket.names(machine).items():
            try:
                self._heads.append((bucket.head(machine, name, size), size))
            except ArchiveError as error:
                self.found.add(str(error))
        if not self._heads:
            told = f": {self.found.problems[0]}" if self.found.problems else ""
            raise ArchiveError(f"{bucket.url} has no segment of machine {machine} that can be read{told}")
        self._heads.sort(key=lambda each: each[0].key)
        self._ends: dict[int, int] = {}
        try:
            self._ends = bucket.ends(machine)
        except ArchiveError as error:
            self.found.add(str(error))
        if strange := [head for head, _ in self._heads if head.machine.hex() != machine]:
            raise ArchiveError(
                f"{strange[0].name} is of machine {strange[0].machine.hex()}, and lies with {machine}"
            )
        if self._journal.is_dir():
            self._look_here()

    @property
    def total(self) -> int:
        return len(self._heads)

    def __iter__(self) -> Iterator[int]:
        """Bytes that were fetched for each segment."""
        storage = self._storage
        storage.make_directory(self._journal)
        with self._without_retention():
            _name_machine(storage, self._journal, self._machine)
            self._look_here()
            self._keep_sequences()
            self._look_here()
            for head, size in self._heads:
                yield self._restore(head, size)
            free_removed(storage, self._journal)
            self._tell_missing()
            self._register()

    def _look_here(self) -> None:
        """What the directory has. Raises ArchiveError where that and the archive can't be of one history."""
        chains: dict[int, list[Segment]] = {}
        for segment in list_segments(self._storage, self._journal)[0]:
            machine = segment.header.machine.hex()
            if machine != self._machine:
                raise ArchiveError(
                    f"{self._journal} is of machine {machine}, and {self._machine} is to be restored; name another "
                    "directory, or move this one's journal away"
                )
            if segment.header.started:
                chains.setdefault(segment.header.writer, []).append(segment)
        self._here = {
            key_of(segment.header): (segment, limit)
            for chain in chains.values()
            for segment, limit in zip(chain, segment_limits(chain, SEQUENCE_END), strict=True)
        }
        for head, _ in self._heads:
            there = self._here.get(head.key)
            if there is not None and there[0].header.salt != head.salt:
                raise ArchiveError(
                    f"{there[0].path} is no copy of {head.name} in the archive, though it has its place; name an "
                    "empty directory"
                )
        _check_chains({head.key for head, _ in self._heads}.union(self._here))

    def _restore(self, head: Head, size: int) -> int:
        there = self._here.get(head.key)
        if there is not None and self._reads_well(there[0], head):
            self.found.kept += 1
            return 0
        try:
            data = self._bucket.get(self._machine, head.name)
            found, content = parse_object(data, head.name)
        except ArchiveError as error:
            self.found.add(str(error))
            return 0
        if found != head:
            raise ArchiveError(f"{head.name} was replaced meanwhile; give this again")
        draft = self._journal / f"{DRAFT_PREFIX}{random_name(self._storage)}.tmp"
        try:
            header = self._write(draft, content, head)
            segment = Segment(draft, header)
            self._check_overlaps(head, segment)
            path = self._journal / Path(segment_name(head.writer, head.ordinal)).with_suffix(".zst")
            self._storage.rename(draft, path)
        except BaseException:
            with contextlib.suppress(OSError):
                self._storage.unlink(draft)
            raise
        self._storage.sync_directory(self._journal)
        if there is not None and there[0].path != path:
            remove_segment(self._storage, there[0].path)  # what didn't read well
        self._here[head.key] = Segment(path, header), head.next
        self.found.segments += 1
        self.found.records += head.records
        self.found.bytes += size
        return size

    def _reads_well(self, segment: Segment, head: Head) -> bool:
        """Whether what the directory has of it has no less than the archive."""
        with open_source(self._storage, segment.path, segment.header) as source:
            extent = measure(source, segment.header, head.next)
        return extent.records >= head.records and extent.lost <= head.lost

    def _write(self, draft: Path, content: memoryview, head: Head) -> SegmentHeader:
        """The draft, synced and read whole."""
        storage = self._storage
        fd = storage.open(draft, create=True)
        try:
            write_all(storage, fd, content, 0)
            storage.fdatasync(fd)
            header = parse_header(storage.pread(fd, PAGE, 0))
        finally:
            storage.close(fd)
        if header is None or (key_of(header), header.machine) != (head.key, head.machine):
            raise ArchiveError(f"{head.name} holds another segment than its name says")
        if not header.flags & FLAG_COMPRESSED:
            raise ArchiveError(f"{head.name} holds a segment in a form that archives don't have")
        with open_source(storage, draft, header) as source:
            extent = measure(source, header, head.next)
        if (extent.next_sequence, extent.records, extent.lost) != (head.next, head.records, head.lost):
            raise ArchiveError(
                f"{head.name} holds {extent.records:,} records that can be read; {head.records:,} were put there"
            )
        return header

    def _check_overlaps(self, head: Head, segment: Segment) -> None:
        """What another segment has of the same sequences, as after a recovery, are the same records."""
        for key, (other, limit) in self._here.items():
            first, behind = max(head.first, key[3]), min(head.next, limit)
            if key[0] != head.writer or key == head.key or first >= behind:
                continue
            own = payloads(self._storage, segment, head.next, first, behind)
            others = payloads(self._storage, other, limit, first, behind)
            if any(others.get(sequence, digest) != digest for sequence, digest in own.items()):
                raise ArchiveError(
                    f"{other.path} and {head.name} of the archive hold different records under the same sequences "
                    f"({first:,} to {behind - 1:,} of writer {head.writer}); name an empty directory"
                )

    def _keep_sequences(self) -> None:
        """Has each writer go on behind all that it ever gave. A slot that ended well knows, as does one whose last
        segment is here; of the others nobody does."""
        lasts = {head.writer: head for head, _ in self._heads}
        for writer, last in lasts.items():
            end = max(
                self._ends.get(writer, 0), *(head.next for head, _ in self._heads if head.writer == writer)
            )
            newest = max((key[1] for key in self._here if key[0] == writer), default=0)
            state = read_slot(self._storage, self._journal, writer)
            if state is not None and (state.next_sequence >= end if state.clean else newest > last.ordinal):
                continue
            slot = Slot.take(self._storage, self._journal, writer, create=True)
            if slot is None:
                raise ArchiveError(f"writer {writer} of {self._journal} is in use; stop the server first")
            try:
                self._leap(slot, end, last.epoch)
            finally:
                slot.release()
            self.found.leapt.append(writer)
        self._storage.sync_directory(self._journal)

    def _leap(self, slot: Slot, end: int, epoch: int) -> None:
        """In one write; what the ring still holds is taken over before."""
        machine, state = bytes.fromhex(self._machine), slot.state
        if state is not None and not state.clean:
            maker = SegmentMaker(self._storage, self._journal, self._settings)
            recovered = recover(self._storage, slot, machine, maker)
            end, epoch = max(end, recovered.next_sequence), max(epoch, recovered.epoch)
        elif state is not None:
            end, epoch = max(end, state.next_sequence), max(epoch, state.epoch)
        ends = [self._end(key) for key in self._here if key[0] == slot.writer]
        slot.write(
            machine=machine,
            epoch=epoch,
            next_sequence=max(end, 1, *ends) + LEAP,
            ring_bytes=state.ring_bytes if state is not None else 0,
            clean=True,
        )

    def _end(self, key: Key) -> int:
        """The first sequence that isn't in a segment which is here, as far as it can be read."""
        segment = self._here[key][0]
        with open_source(self._storage, segment.path, segment.header) as source:
            return measure(source, segment.header, SEQUENCE_END).next_sequence

    def _tell_missing(self) -> None:
        """What of the writers' sequences is neither here nor in the archive, behind the first that is."""
        nexts = {head.key: head.next for head, _ in self._heads}
        expected: dict[int, int] = {}
        for key in sorted(self._here):
            writer, first = key[0], key[3]
            if expected.get(writer, first) < first < expected.get(writer, first) + LEAP:
                self.found.add(_missing(writer, expected[writer], first))
            expected[writer] = max(expected.get(writer, first), nexts.get(key) or self._end(key))
        for writer, end in self._ends.items():
            if writer in expected and expected[writer] < end:
                self.found.add(_missing(writer, expected[writer], end))

    def _register(self) -> None:
        """The archive has what came from it: its own archiver needn't look at all of that again, and
        `fanion forget` has to look there."""
        self._storage.make_directory(self._data / DIRECTORY)
        state = load_state(self._storage, self._data)
        if self._bucket.url not in state.urls:
            fresh = msgspec.structs.replace(state, urls=[*state.urls, self._bucket.url])
            keep_state(self._storage, self._data, fresh)
        before = load_checkpoint(self._storage, self._journal, READER)
        if before.machine == self._machine and before.next_sequence:
            return
        places: dict[int, int] = {}
        for head, _ in self._heads:
            places[head.writer] = max(places.get(head.writer, 0), head.next)
        place = Checkpoint(self._machine, places)
        JournalReader(self._data, storage=self._storage, name=READER, checkpoint=place, yields=True)

    @contextmanager
    def _without_retention(self) -> Iterator[None]:
        fd = self._storage.open(self._journal / LOCK_NAME, create=True)
        try:
            if not self._storage.lock(fd):
                raise ArchiveError(f"{self._journal}: its retention is at work; run this again later")
            yield
        finally:
            self._storage.close(fd)


def choose_machine(bucket: Bucket, storage: Storage, data: Path, wanted: str) -> str:
    """Whose segments are to be restored. Raises ArchiveError where that isn't plain."""
    own = ""
    if (data / "journal" / "machine").exists():
        own = machine_id(storage, data / "journal").hex()
    there = bucket.machines()
    if not there:
        raise ArchiveError(f"{bucket.url} holds no archive of a journal")
    if wanted and wanted not in there:
        raise ArchiveError(f"{bucket.url} has nothing of machine {wanted}; there are: {', '.join(there)}")
    if own and wanted and own != wanted:
        raise ArchiveError(f"{data} has the journal of machine {own}; name another directory for {wanted}")
    if own and own not in there:
        raise ArchiveError(
            f"{data} has the journal of machine {own}, of which {bucket.url} has nothing; there are: "
            f"{', '.join(there)}. A machine's journal goes into an empty directory, or its own"
        )
    if not (own or wanted) and len(there) > 1:
        raise ArchiveError(f"{bucket.url} has several machines: {', '.join(there)}; name one with --machine")
    return own or wanted or there[0]


def _name_machine(storage: Storage, journal: Path, machine: str) -> None:
    """The journal's own id, where it hasn't one."""
    path = journal / "machine"
    if not path.exists():
        make_file(storage, path, machine.encode() + b"\n")
    if machine_id(storage, journal).hex() != machine:
        raise ArchiveError(f"{path} names another machine than {machine}")


def _check_chains(keys: Iterable[Key]) -> None:
    """ArchiveError where segments can't be of one history: an ordinal twice, or epochs that go back."""
    for before, after in pairwise(sorted(keys)):
        if before[0] == after[0] and (before[1] == after[1] or before[2] > after[2]):
            raise ArchiveError(
                f"writer {before[0]} began anew here, with segments that the archive has already (ordinal "
                f"{after[1]}, epochs {before[2]} and {after[2]}); name an empty directory"
            )


def _missing(writer: int, first: int, behind: int) -> str:
    return f"requests {first:,} to {behind - 1:,} of writer {writer} are neither here nor in the archive"
