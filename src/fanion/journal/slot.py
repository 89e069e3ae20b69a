"""A writer's slot: the file that names its epoch and, locked, its owner.

Two copies at offsets 0 and 4096 are written in turn and synced, so one is always whole. The lock is an flock on
the slot file: it ends with the process, however that ends.
"""

from __future__ import annotations

import struct
from pathlib import Path

import msgspec

from fanion.errors import JournalError
from fanion.journal.log_segment import checksum_around
from fanion.journal.storage import Storage, write_all

SLOT = struct.Struct("<8sII16sQQQQII")
MAGIC = b"FNANSLT1"
VERSION = 1
COPY = 4096


class SlotState(msgspec.Struct, frozen=True):
    """`next_sequence` counts only when `clean`: then the log holds all below it and the ring nothing."""

    machine: bytes
    counter: int
    epoch: int
    next_sequence: int
    ring_bytes: int
    writer: int
    clean: bool

    def pack(self) -> bytes:
        fields = (self.machine, self.counter, self.epoch, self.next_sequence, self.ring_bytes)
        plain = SLOT.pack(MAGIC, VERSION, 0, *fields, self.writer, self.clean)
        return plain[:12] + checksum_around(plain).to_bytes(4, "little") + plain[16:]


def parse_slot(data: bytes) -> SlotState | None:
    """The newer of the two valid copies; None when there is none. JournalError for a newer version."""
    found = []
    for at in (0, COPY):
        part = data[at : at + SLOT.size]
        if len(part) < SLOT.size or part[:8] != MAGIC:
            continue
        _, version, checksum, machine, counter, epoch, next_sequence, ring_bytes, writer, clean = SLOT.unpack(
            part
        )
        if checksum != checksum_around(part):
            continue
        if version != VERSION:
            raise JournalError(
                f"a journal slot of format {version}, this Fanion reads up to {VERSION}; run the newer Fanion"
            )
        found.append(SlotState(machine, counter, epoch, next_sequence, ring_bytes, writer, bool(clean)))
    return max(found, key=lambda state: state.counter, default=None)


def slot_path(directory: Path, writer: int) -> Path:
    return directory / f"{writer:03d}.slot"


def ring_path(directory: Path, writer: int) -> Path:
    return directory / f"{writer:03d}.ring"


def list_slots(storage: Storage, directory: Path) -> list[int]:
    """The writers that have a slot file."""
    names = storage.list_directory(directory)
    return sorted(int(name[:-5]) for name in names if name.endswith(".slot") and name[:-5].isdigit())


def read_slot(storage: Storage, directory: Path, writer: int) -> SlotState | None:
    """A slot's state without taking its lock."""
    try:
        fd = storage.open(slot_path(directory, writer), write=False)
    except FileNotFoundError:
        return None
    try:
        return parse_slot(storage.pread(fd, COPY + SLOT.size, 0))
    finally:
        storage.close(fd)


def is_owned(storage: Storage, directory: Path, writer: int) -> bool:
    """Whether a living process has the slot."""
    try:
        fd = storage.open(slot_path(directory, writer), write=False)
    except FileNotFoundError:
        return False
    try:
        return storage.locked(fd)
    finally:
        storage.close(fd)


class Slot:
    """A locked slot. `state` is None until it was written for the first time."""

    def __init__(self, storage: Storage, directory: Path, writer: int, fd: int) -> None:
        self._storage = storage
        self.directory = directory
        self.writer = writer
        self.fd = fd
        self.state = parse_slot(storage.pread(fd, COPY + SLOT.size, 0))

    @classmethod
    def take(cls, storage: Storage, directory: Path, writer: int, *, create: bool) -> Slot | None:
        """The slot, locked; None when another process has it (or, without `create`, when there is none)."""
        try:
            fd = storage.open(slot_path(directory, writer), create=create)
        except FileNotFoundError:
            if create:
                raise
            return None
        try:
            if not storage.lock(fd):
                storage.close(fd)
                return None
            return cls(storage, directory, writer, fd)
        except BaseException:
            storage.close(fd)
            raise

    @classmethod
    def take_any(cls, storage: Storage, directory: Path, slots: int) -> Slot:
        """The first slot that nobody has. JournalError when all are taken."""
        for writer in range(slots):
            slot = cls.take(storage, directory, writer, create=True)
            if slot is not None:
                return slot
        raise JournalError(f"{directory}: all {slots} writer slots are taken; raise journal.slots")

    def write(self, *, machine: bytes, epoch: int, next_sequence: int, ring_bytes: int, clean: bool) -> None:
        """Writes and syncs the state into the older copy."""
        counter = self.state.counter + 1 if self.state else 1
        state = SlotState(machine, counter, epoch, next_sequence, ring_bytes, self.writer, clean)
        write_all(self._storage, self.fd, state.pack(), COPY * (counter % 2))
        self._storage.fdatasync(self.fd)
        self.state = state

    def release(self) -> None:
        self._storage.close(self.fd)
