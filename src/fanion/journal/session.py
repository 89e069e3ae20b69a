"""One claim of a slot: the ring, the native writer and the making of its segments, from open to release.

A session is replaced, never repaired: when its directory is gone or its writer is lost, a new one begins.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from fanion._core.journal_writer import NativeWriter
from fanion._core.ring import DATA_OFFSET, Ring
from fanion.errors import JournalError
from fanion.journal.files import ReadySegment, RingIdentity, SegmentMaker, begin_ring, machine_id, make_ring
from fanion.journal.log_segment import PAGE, new_salt, parse_header
from fanion.journal.recovery import Recovered, recover
from fanion.journal.seal import seal_segment
from fanion.journal.settings import JournalSettings
from fanion.journal.slot import Slot, list_slots, read_slot, ring_path
from fanion.journal.storage import Storage


class Session:
    """Made by `open_session`. `ring.append` belongs to the event loop's thread, all else to the steward's."""

    def __init__(
        self,
        storage: Storage,
        settings: JournalSettings,
        slot: Slot,
        ring: Ring,
        ring_fd: int,
        recovered: Recovered,
        maker: SegmentMaker,
        machine: bytes,
    ) -> None:
        self.storage = storage
        self.settings = settings
        self.slot = slot
        self.ring = ring
        self.ring_fd = ring_fd
        self.recovered = recovered
        self.maker = maker
        self.machine = machine
        self.ordinal = recovered.ordinal
        self.made: dict[int, ReadySegment] = {}
        self.native = NativeWriter(
            ring,
            staging_bytes=settings.staging_bytes,
            sync_interval_ns=int(settings.sync_interval_ms * 1e6),
            durable_sequence=recovered.next_sequence - 1,
            table=storage.table,
        )

    @property
    def directory(self) -> Path:
        return self.slot.directory

    def offer_segment(self, *, zeroed: bool, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Makes the next segment ready and hands it to the writer. `meanwhile` is called every few milliseconds
        while it is zeroed."""

        def in_hurry() -> bool:
            meanwhile()
            return self._in_hurry()

        ready = self.maker.make(
            machine=self.machine,
            writer=self.slot.writer,
            epoch=self.recovered.epoch,
            ordinal=self.ordinal + 1,
            zeroed=zeroed,
            hurry=in_hurry,
        )
        self.ordinal += 1
        self.made[ready.fd] = ready
        self.native.offer(ready.fd, ready.size, ready.header.pack())

    def _in_hurry(self) -> bool:
        """Whether the writer is about to need a segment that isn't there, or is waiting for one."""
        if self.native.offers:
            return False
        return self.native.blocked or self.ring.segment_bytes > self.settings.segment_bytes // 8 * 7

    def settle_retired(self) -> None:
        """Seals segments that are full, unlinks those that failed before they held anything."""
        for fd, _, first_sequence, end_sequence, _, failure in self.native.take_retired():
            ready = self.made.pop(fd)
            self.storage.close(fd)
            with contextlib.suppress(OSError, JournalError):  # what isn't settled now, a later pass settles
                if not failure:
                    self.seal(ready, first_sequence, end_sequence)
                elif end_sequence == first_sequence:
                    self.storage.unlink(ready.path)

    def seal(self, ready: ReadySegment, first_sequence: int, end_sequence: int) -> None:
        header = ready.header.started_at(first_sequence)
        seal_segment(self.storage, ready.path, header, end_sequence, keep_size=self.settings.segment_bytes)

    def finish(self) -> bool:
        """After the writer has ended: settles what is open and releases the slot, clean when the log holds all."""
        clean = False
        try:
            self.settle_retired()
            current = self.native.current()
            drained = self.ring.durable == self.ring.head_sequence
            if current is not None:
                fd, started, first_sequence = current
                ready = self.made.pop(fd)
                self.storage.close(fd)
                if started and drained:
                    self.seal(ready, first_sequence, self.ring.durable + 1)
                elif not started:
                    self.storage.unlink(ready.path)
            while self.made:
                _, ready = self.made.popitem()
                header = parse_header(self.storage.pread(ready.fd, PAGE, 0))
                self.storage.close(ready.fd)
                if header is not None and not header.started:
                    self.maker.recycle(ready.path, keep=self.settings.pool_segments)
            clean = drained and self.ring.failure == 0
            if clean:
                self.slot.write(
                    machine=self.machine,
                    epoch=self.recovered.epoch,
                    next_sequence=self.ring.durable + 1,
                    ring_bytes=self.settings.ring_bytes,
                    clean=True,
                )
        except (OSError, JournalError):
            clean = False
        self.abandon()
        return clean

    def abandon(self) -> None:
        """Closes what is open without touching a file: recovery will find it as it is."""
        while self.made:
            self.storage.close(self.made.popitem()[0])
        self.storage.close(self.ring_fd)
        self.slot.release()


def open_session(storage: Storage, directory: Path, settings: JournalSettings) -> Session:
    """Claims the first free slot of the journal in `directory`, recovers it and begins its ring anew.

    The parent of `directory` must exist. OSError or JournalError when that can't be done now.
    """
    storage.make_directory(directory)
    machine = machine_id(storage, directory)
    maker = SegmentMaker(storage, directory, settings)
    slot = Slot.take_any(storage, directory, settings.slots)
    ring_fd = -1
    try:
        recovered = recover(storage, slot, machine, maker)
        ring_fd = _open_ring(storage, directory, slot.writer, settings.ring_bytes)
        identity = RingIdentity(machine, new_salt(storage), recovered.epoch, settings.ring_bytes, slot.writer)
        begin_ring(storage, ring_fd, identity, recovered.next_sequence)
        slot.write(
            machine=machine,
            epoch=recovered.epoch,
            next_sequence=recovered.next_sequence,
            ring_bytes=settings.ring_bytes,
            clean=False,
        )
        for path in recovered.unused:
            maker.recycle(path, keep=settings.pool_segments)
        ring = Ring(storage.mapping(ring_fd), settings.ring_bytes, identity.salt)
        return Session(storage, settings, slot, ring, ring_fd, recovered, maker, machine)
    except BaseException:
        if ring_fd >= 0:
            storage.close(ring_fd)
        slot.release()
        raise


def _open_ring(storage: Storage, directory: Path, writer: int, capacity: int) -> int:
    path = ring_path(directory, writer)
    try:
        fd = storage.open(path)
    except FileNotFoundError:
        return make_ring(storage, path, writer, capacity)
    if storage.size(fd) == DATA_OFFSET + capacity:
        return fd
    storage.close(fd)
    return make_ring(storage, path, writer, capacity)


def adopt_all(storage: Storage, directory: Path, settings: JournalSettings, *, but: int = -1) -> None:
    """Drains the rings of all slots that have no owner any more. `but`: the caller's own."""
    for writer in list_slots(storage, directory):
        if writer == but:
            continue
        state = read_slot(storage, directory, writer)
        if state is not None and not state.clean:
            adopt(storage, directory, writer, settings)


def adopt(storage: Storage, directory: Path, writer: int, settings: JournalSettings) -> Recovered | None:
    """Drains the ring of a slot whose owner is gone, and marks the slot clean. None: it has an owner, or nothing
    to be drained."""
    slot = Slot.take(storage, directory, writer, create=False)
    if slot is None:
        return None
    try:
        if slot.state is None or slot.state.clean:
            return None
        maker = SegmentMaker(storage, directory, settings)
        recovered = recover(storage, slot, slot.state.machine, maker)
        for path in recovered.unused:
            maker.recycle(path, keep=settings.pool_segments)
        slot.write(
            machine=slot.state.machine,
            epoch=recovered.epoch,
            next_sequence=recovered.next_sequence,
            ring_bytes=slot.state.ring_bytes,
            clean=True,
        )
        return recovered
    finally:
        slot.release()
