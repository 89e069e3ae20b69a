"""The archiver: copies each finished segment that the archive doesn't have, reads it back, and goes on.

Its place is the registered reader's checkpoint, which moves from segment to segment. A kill between an object and
the checkpoint has the same object made again, which meets itself.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from fanion.archive import DIRECTORY, READER
from fanion.archive.bucket import Bucket
from fanion.archive.packed import Head, head_of, make_object, parse_object
from fanion.archive.state import State, keep_state, load_state
from fanion.config.archive import Archive
from fanion.config.places import Places
from fanion.errors import ArchiveConflictError, ArchiveError
from fanion.journal.compression import open_source
from fanion.journal.gaps import Gaps, load_gaps
from fanion.journal.lag import lag_of
from fanion.journal.log_segment import PAGE, SEQUENCE_END, Segment, parse_header
from fanion.journal.packing import pack_segment
from fanion.journal.reader import Checkpoint, JournalReader, load_checkpoint, segment_limits
from fanion.journal.seal import read_seal
from fanion.journal.storage import Storage, write_all
from fanion.telemetry.archive import ArchiveNumbersNow

SPARE_BYTES: Final = 64 << 20
"""An object in the place of a segment may have so many more than four times its bytes, as of records that recovery
wrote to the next one since."""
CONFLICTS_MAX: Final = 100
"""Named in the state; one is enough for an alarm."""


class Archiver:
    """Of one data directory; one at a time. `turn`: called at every step. Raises ArchiveError, JournalError."""

    def __init__(
        self,
        directory: Path,
        settings: Archive,
        places: Places,
        *,
        turn: Callable[[], None] = lambda: None,
        storage: Storage | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._data = directory
        self._settings = settings
        self._places = places
        self._turn = turn
        self._storage = storage or Storage()
        self._now = now
        self._bucket: Bucket | None = None
        self._ends_said: dict[int, int] | None = None
        self._files: list[int] = []
        self._reader = JournalReader(directory, storage=self._storage)  # without a journal nothing is made
        self._machine = ""
        self.places: dict[int, int] = {}
        self._storage.make_directory(directory / DIRECTORY)
        try:
            lock, self._wanted, self._busy = map(self._open, ("lock", "turn", "busy"))
            if not self._storage.lock(lock):
                raise ArchiveError(
                    "another process archives this directory's journal; only one does at a time"
                )
            self.state = load_state(self._storage, directory)
            self._meet()
        except BaseException:
            self.close()
            raise

    def _meet(self) -> bool:
        """Whose journal it is, once it has a segment. Retention waits from then on, also where nothing is reached.
        False: it has none yet."""
        if not self._machine:
            self._reader.chains()
            self._machine = self._reader.checkpoint.machine
            if self._machine:
                before = load_checkpoint(self._storage, self._data / "journal", READER)
                self.places = dict(before.next_sequence) if before.machine == self._machine else {}
                self._tell()
        return bool(self._machine)

    def _open(self, name: str) -> int:
        self._files.append(self._storage.open(self._data / DIRECTORY / name, create=True))
        return self._files[-1]

    def close(self) -> None:
        while self._files:
            self._storage.close(self._files.pop())

    def __enter__(self) -> Archiver:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def bucket(self) -> Bucket:
        """Opened with the first look, so that also an archiver which can't open it says how it stands."""
        if self._bucket is None:
            url = self._settings.url
            if url not in self.state.urls:  # before the first object, or `forget` wouldn't know of it
                self._keep(msgspec.structs.replace(self.state, urls=[*self.state.urls, url]))
            self._bucket = Bucket(url, self._places, self._settings.timeout_s, create=True)
        return self._bucket

    def run_once(self, ended: Callable[[], bool] = lambda: False) -> int:
        """All that is finished now. How many segments the archive has besides. Raises ArchiveError; a conflict
        holds up its own writer only, and is raised at the end."""
        count = 0
        stopped: set[int] = set()
        conflicts: list[str] = []
        bucket = self.bucket
        if not self._meet():
            return 0
        for segment, limit in finished(self._reader, self._storage):
            self._turn()
            header = segment.header
            if header.machine.hex() != self._machine:
                raise ArchiveError("another journal is in the directory now; it is begun anew")
            if header.writer in stopped or limit <= max(
                self.places.get(header.writer, 0), header.first_sequence
            ):
                continue
            if ended() or self._storage.locked(self._wanted) or not self._storage.lock(self._busy):
                return count  # `forget` has its turn; the next look goes on
            try:
                count += self._archive(bucket, segment, limit)
            except FileNotFoundError:  # it was compressed or written anew meanwhile: the next look finds it
                stopped.add(header.writer)
            except ArchiveConflictError as error:
                stopped.add(header.writer)
                conflicts.append(str(error))
            finally:
                self._let_go_turn()
        if self._ends_said != self.places:
            bucket.say_ends(self._machine, self.places)
            self._ends_said = dict(self.places)
        if conflicts != self.state.conflicts:
            self._keep(msgspec.structs.replace(self.state, conflicts=conflicts[:CONFLICTS_MAX]))
        if conflicts:
            more = f" (and {len(conflicts) - 1} more)" if len(conflicts) > 1 else ""
            raise ArchiveError(f"{conflicts[0]}{more}")
        if self.state.failing:
            self._keep(msgspec.structs.replace(self.state, failing="", failing_since_unix_s=0.0))
        return count

    def failed(self, reason: str) -> None:
        """Says so in the state's file, where it is another reason than before."""
        if self.state.failing != reason:
            since = self.state.failing_since_unix_s or self._now()
            self._keep(msgspec.structs.replace(self.state, failing=reason, failing_since_unix_s=since))

    def problems(self) -> list[str]:
        """What could not be read."""
        return [f"{defect.path}: {defect.what}" for defect in self._reader.defects]

    def gaps(self) -> Gaps:
        """What left the journal before it was archived."""
        return load_gaps(self._storage, self._data / "journal", READER)

    def stands(self) -> ArchiveNumbersNow:
        waiting = waiting_segments(self._reader, self._storage, self.places)
        held = lag_of(self._reader, self._storage, Checkpoint(self._machine, self.places))
        state = self.state
        return ArchiveNumbersNow(
            segments=state.segments,
            records=state.records,
            bytes=state.bytes,
            waiting_segments=waiting,
            held_bytes=held.held_bytes,
            archived_unix_s=state.archived_unix_s,
            conflicts=len(state.conflicts),
            lost_records=state.lost_records,
            gap_records=self.gaps().records,
        )

    def _archive(self, bucket: Bucket, segment: Segment, limit: int) -> int:
        """How many objects were made: none of a segment that holds nothing."""
        packed = pack_segment(self._storage, segment, limit)
        self._turn()
        head, size = head_of(packed), 0
        if packed.extent.records or packed.extent.lost:
            content = make_object(head, packed.content)
            size = len(content)
            self._put(bucket, head, content)
        self.places[head.writer] = max(head.next, limit)
        self._tell()
        self._keep(
            msgspec.structs.replace(
                self.state,
                segments=self.state.segments + bool(size),
                records=self.state.records + head.records,
                bytes=self.state.bytes + size,
                lost_records=self.state.lost_records + head.lost,
                archived_unix_s=self._now(),
                failing="",
                failing_since_unix_s=0.0,
            )
        )
        return int(bool(size))

    def _put(self, bucket: Bucket, head: Head, content: bytes) -> None:
        """Has the archive hold a segment, and reads it back. ArchiveConflictError where it holds something else."""
        made = bucket.create(self._machine, head.name, content)
        there = bucket.get(self._machine, head.name, 4 * len(content) + SPARE_BYTES)
        if there == content:
            return
        path = f"{bucket.url}/{self._machine}/segments/{head.name}"
        try:
            found, segment = parse_object(there, head.name)
        except ArchiveError as error:
            raise ArchiveConflictError(
                f"{path}: {error}; it stays, move it away to have it written again"
            ) from None
        if made or not (found == head or self._covers(found, segment, head)):
            raise ArchiveConflictError(
                f"{path} holds something else than the journal: {found.records:,} records and another digest; it "
                "stays. If `fanion forget` could not reach it, give that again, else move it away"
            )

    def _covers(self, found: Head, content: memoryview, head: Head) -> bool:
        """Whether an object holds the same records, and more, which recovery has written again to the next segment
        since: what ends there is the same."""
        header = parse_header(bytes(content[:PAGE]))
        if header is None or found.salt != head.salt or found.next <= head.next:
            return False
        draft = self._data / DIRECTORY / "compared.tmp"
        fd = self._storage.open(draft, create=True)
        try:
            self._storage.truncate(fd, 0)
            write_all(self._storage, fd, content, 0)
        finally:
            self._storage.close(fd)
        try:
            return head_of(pack_segment(self._storage, Segment(draft, header), head.next)) == head
        finally:
            self._storage.unlink(draft)

    def _let_go_turn(self) -> None:
        """By closing: a lock ends with its descriptor."""
        self._storage.close(self._busy)
        self._files.remove(self._busy)
        self._busy = self._open("busy")

    def _keep(self, state: State) -> None:
        keep_state(self._storage, self._data, state)
        self.state = state

    def _tell(self) -> None:
        """That retention may take what was read back: keeps it, synced."""
        place = Checkpoint(self._machine, dict(self.places))
        JournalReader(self._data, storage=self._storage, name=READER, checkpoint=place, yields=True)


def finished(reader: JournalReader, storage: Storage) -> Iterator[tuple[Segment, int]]:
    """Segments that nobody writes any more, each writer's in order, and the first sequence that isn't in each. One
    whose end wasn't known to be durable when the reader looked is for another look: its end would be the look's."""
    for segments, end, _ in reader.chains():
        for segment, limit in list(zip(segments, segment_limits(segments, SEQUENCE_END), strict=True))[:-1]:
            if limit > end:
                break
            yield segment, limit
        else:
            last = segments[-1]
            with contextlib.suppress(FileNotFoundError):
                with open_source(storage, last.path, last.header) as source:
                    seal = read_seal(source, last.header)
                if seal is not None and seal.end_sequence <= end:
                    yield last, seal.end_sequence


def waiting_segments(reader: JournalReader, storage: Storage, places: dict[int, int]) -> int:
    """Finished ones that the archive doesn't have."""
    return sum(
        limit > max(places.get(segment.header.writer, 0), segment.header.first_sequence)
        for segment, limit in finished(reader, storage)
    )
