"""Making and unmaking the journal's files: segments made ready, the recycling pool, rings, the machine id.

Only the steward and recovery come here; the writer thread creates, renames and unlinks nothing. Every file is
complete and synced, and so is its directory, before it is handed on.
"""

from __future__ import annotations

import contextlib
import errno
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fanion._core import ring
from fanion.errors import JournalError
from fanion.journal.log_segment import HEADER, PAGE, SegmentHeader, checksum_around, new_salt, parse_header
from fanion.journal.settings import KIB, MIB, JournalSettings
from fanion.journal.storage import Storage, read_file, write_all
from fanion.small_files import make_file

RING_IDENTITY = struct.Struct("<8sII16sQQQII")
RING_MAGIC = b"FNANRNG1"
RING_VERSION = 2
RING_READS = frozenset({1, 2})
CONTROL_OFFSET = 4096
CONTROL_SPACING = 128
CONTROL_WORDS = ("head", "head_sequence", "freed", "freed_sequence", "durable")
ZERO_BYTES_PER_S = 64 * MIB
"""Pace of writing zeros for a segment. They go out by background write-back and one sync at the end: syncing each
step makes the file system commit, and put p99 of receipt to durable at 10-30 ms instead of 0.7 (23 MB/s)."""
ZERO_STEP_BYTES = 512 * KIB
RING_STEP_BYTES = 4 * MIB
"""A ring is filled at a worker's first start, when no writer is disturbed."""
FILL_BYTES_MAX = MIB
"""Of zeros to complete a segment for the pool: the end of one whose last record did not fit. More is not worth it
where a worker starts or stops."""
REMOVE_STEP_BYTES = MIB
REMOVE_PAUSE_S = 0.005
REMOVED_PREFIX = "removed-"
"""Of files whose blocks the next pass of retention frees."""
RECYCLED_PREFIX = "recycled-"
"""Of files on their way into the pool."""


class ReadySegment(NamedTuple):
    """A segment that waits for its first record."""

    path: Path
    fd: int
    size: int
    header: SegmentHeader


class RingIdentity(NamedTuple):
    """Page 0 of a ring file."""

    machine: bytes
    salt: int
    epoch: int
    capacity: int
    writer: int


def random_name(storage: Storage) -> str:
    return storage.random(8).hex()


def machine_id(storage: Storage, directory: Path) -> bytes:
    """The journal's 16 random bytes, made by whoever comes first."""
    path = directory / "machine"
    with contextlib.suppress(FileNotFoundError):
        text = read_file(storage, path)
        try:
            found = bytes.fromhex(text.decode("ascii").strip())
        except ValueError:
            found = b""
        if len(found) != 16:
            raise JournalError(
                f"{path}: not a machine id; restore the file, or remove it to begin a new identity"
            )
        return found
    make_file(storage, path, storage.random(16).hex().encode() + b"\n")
    return machine_id(storage, directory)


def segment_name(writer: int, ordinal: int) -> str:
    return f"{writer:03d}-{ordinal:012d}.log"


def draft_path(storage: Storage, directory: Path, writer: int) -> Path:
    """A name for a file that the slot's owner is making; without an owner it is nobody's."""
    return directory / f"{writer:03d}-{random_name(storage)}.tmp"


def remove_drafts(storage: Storage, directory: Path, writer: int) -> None:
    """What an earlier owner of the slot left half made. The caller has the slot's lock."""
    for name in storage.list_directory(directory):
        if name.startswith(f"{writer:03d}-") and name.endswith(".tmp"):
            storage.unlink(directory / name)


def is_pool_name(name: str) -> bool:
    return name.startswith("pool-") and name.endswith(".free")


def is_removed_name(name: str) -> bool:
    return name.startswith(REMOVED_PREFIX) and name.endswith(".tmp")


def is_recycled_name(name: str) -> bool:
    return name.startswith(RECYCLED_PREFIX) and name.endswith(".tmp")


def remove_segment(storage: Storage, path: Path) -> None:
    """Takes a file's name away, durably; its blocks are freed by the next pass of retention (`shrink`)."""
    storage.rename(path, path.with_name(f"{REMOVED_PREFIX}{random_name(storage)}.tmp"))
    storage.sync_directory(path.parent)


def shrink(storage: Storage, draft: Path, step: Callable[[int], None] = lambda _: None) -> None:
    """Frees a file's blocks a step at a time from its end, then unlinks it. `step` is called before each step, to
    end (by raising).

    Unlinked in one piece, 64 MiB went to the disk as one discard, and the writer's fdatasync behind it took 11 to
    17 ms; in steps of 1 MiB it took 4 at most.
    """
    fd = storage.open(draft)
    try:
        size = storage.size(fd)
        while size > REMOVE_STEP_BYTES:
            step(0)
            size -= REMOVE_STEP_BYTES
            storage.truncate(fd, size)
            storage.sleep(REMOVE_PAUSE_S)
    except OSError:
        pass  # the disk is full, or fails: whole, then
    finally:
        storage.close(fd)
    storage.unlink(draft)


class SegmentMaker:
    """Makes segments ready for one writer. `size`: bytes of a full segment."""

    def __init__(self, storage: Storage, directory: Path, settings: JournalSettings) -> None:
        self._storage = storage
        self._directory = directory
        self._size = settings.segment_bytes
        self._reserve = settings.reserve_bytes

    def make(
        self,
        *,
        machine: bytes,
        writer: int,
        epoch: int,
        ordinal: int,
        zeroed: bool,
        hurry: Callable[[], bool] = lambda: False,
    ) -> ReadySegment:
        """A segment under its name, header synced. `zeroed`: from the pool or written with zeros first, so that
        the writer only overwrites; else only allocated, which takes no time. `hurry` is asked between steps: once
        the segment is wanted at once, no more zeros are written."""
        storage = self._storage
        draft, fd, life = self._from_pool(writer)
        fresh = fd < 0
        if fresh:
            draft = draft_path(storage, self._directory, writer)
            fd = storage.open(draft, create=True)
        try:
            if fresh:
                self._allocate(fd, needed=zeroed)
            if fresh and zeroed:
                self._zero(fd, 0, self._size, hurry)
            header = SegmentHeader(
                machine=machine,
                salt=new_salt(storage),
                ordinal=ordinal,
                epoch=epoch,
                first_sequence=0,
                life=life + 1,
                created_ns=storage.wall(),
                writer=writer,
            )
            write_all(storage, fd, header.page() + bytes(PAGE), 0)
            storage.fdatasync(fd)
            path = self._directory / segment_name(writer, ordinal)
            storage.rename(draft, path)
            storage.sync_directory(self._directory)
        except BaseException:
            storage.close(fd)
            with contextlib.suppress(OSError):
                storage.unlink(draft)
            raise
        return ReadySegment(path, fd, self._size, header)

    def recycle(self, path: Path, *, keep: int) -> None:
        """Puts a file that is no longer needed into the pool, or removes it when the pool has `keep` already.

        It loses its name first: a reader that has it open must be able to tell that its bytes are no segment's.
        A retention pass beside this may take the nameless file for one that a kill left, and remove it.
        """
        storage = self._storage
        pool = [name for name in storage.list_directory(self._directory) if is_pool_name(name)]
        if len(pool) >= keep:
            remove_segment(storage, path)
            return
        draft = self._directory / f"{RECYCLED_PREFIX}{random_name(storage)}.tmp"
        storage.rename(path, draft)
        storage.sync_directory(self._directory)
        with contextlib.suppress(FileNotFoundError):
            if not self._complete(draft):
                remove_segment(storage, draft)
                return
            storage.rename(draft, self._directory / f"pool-{random_name(storage)}.free")
            storage.sync_directory(self._directory)

    def _complete(self, path: Path) -> bool:
        """Cuts a file to the size of a segment, and writes zeros where it was never written. False: too much is
        missing, or it is far too long."""
        storage = self._storage
        fd = storage.open(path)
        try:
            size = storage.size(fd)
            if not self._size <= size < 2 * self._size:
                return False
            if size > self._size:
                storage.truncate(fd, self._size)
            holes = find_holes(storage.written(fd), self._size)
            if sum(end - start for start, end in holes) > FILL_BYTES_MAX:
                return False
            for start, end in holes:
                self._zero(fd, start, end, lambda: False)
            if holes:
                storage.fdatasync(fd)
            return True
        finally:
            storage.close(fd)

    def _from_pool(self, writer: int) -> tuple[Path, int, int]:
        """A pool file under a name of our own, its descriptor (-1: the pool is empty) and its life."""
        storage = self._storage
        for name in storage.list_directory(self._directory):
            if not is_pool_name(name):
                continue
            draft = draft_path(storage, self._directory, writer)
            try:
                storage.rename(self._directory / name, draft)
            except FileNotFoundError:
                continue
            fd = storage.open(draft)
            if storage.size(fd) == self._size:
                header = parse_header(storage.pread(fd, PAGE, 0))
                return draft, fd, header.life if header else 0
            storage.close(fd)
            storage.unlink(draft)
        return self._directory, -1, 0

    def _allocate(self, fd: int, *, needed: bool) -> None:
        """Blocks for a whole segment, so that what isn't zeroed in time is filled in, not appended. Without
        `needed`, a file that would bring the free space near the reserve, or gets no blocks, is left to grow."""
        storage = self._storage
        if not needed and storage.free_bytes(self._directory) < self._reserve + 3 * self._size:
            return
        try:
            storage.allocate(fd, self._size)
        except OSError as error:
            storage.truncate(fd, 0)  # a part may be allocated, and there is none to spare
            if needed and error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise

    def _zero(self, fd: int, start: int, end: int, hurry: Callable[[], bool]) -> None:
        """Zeros from `start` to `end`; what is left out when the segment is wanted sooner is allocated, but costs
        more."""
        zeros = bytes(min(ZERO_STEP_BYTES, end - start))
        for at in range(start, end, len(zeros)):
            if hurry():
                break
            write_all(self._storage, fd, zeros[: end - at], at)
            self._storage.begin_writeback(fd, at, len(zeros))
            self._storage.sleep(len(zeros) / ZERO_BYTES_PER_S)


def find_holes(written: list[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """The parts below `size` that are in none of the written ones, both in order as (start, end)."""
    edges = [0, *(edge for part in written for edge in part), size]
    return [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if start < end]


def make_ring(storage: Storage, path: Path, writer: int, capacity: int) -> int:
    """A zero-filled, fully allocated, synced ring file, and its descriptor. Written before it is mapped: a page
    that isn't on disk yet is a SIGBUS once the disk is full."""
    draft = draft_path(storage, path.parent, writer)
    fd = storage.open(draft, create=True)
    try:
        size = ring.DATA_OFFSET + capacity
        storage.allocate(fd, size)
        zeros = bytes(RING_STEP_BYTES)
        for at in range(0, size, len(zeros)):
            write_all(storage, fd, zeros[: size - at], at)
        storage.fdatasync(fd)
        storage.rename(draft, path)
        storage.sync_directory(path.parent)
    except BaseException:
        storage.close(fd)
        with contextlib.suppress(OSError):
            storage.unlink(draft)
        raise
    return fd


def pack_ring_identity(identity: RingIdentity) -> bytes:
    fields = (identity.machine, identity.salt, identity.epoch, identity.capacity, identity.writer, 0)
    plain = RING_IDENTITY.pack(RING_MAGIC, RING_VERSION, 0, *fields)
    return plain[:12] + checksum_around(plain).to_bytes(4, "little") + plain[16:]


def parse_ring_identity(data: bytes) -> RingIdentity | None:
    """None when the page doesn't verify: a ring that was never begun, or damage."""
    if len(data) < RING_IDENTITY.size or data[:8] != RING_MAGIC:
        return None
    _, version, checksum, machine, salt, epoch, capacity, writer, _ = RING_IDENTITY.unpack(
        data[: RING_IDENTITY.size]
    )
    if checksum != checksum_around(data[: RING_IDENTITY.size]):
        return None
    if version not in RING_READS:
        raise JournalError(
            f"a ring of format {version}, this Fanion reads up to {RING_VERSION}; run the newer Fanion"
        )
    return RingIdentity(machine, salt, epoch, capacity, writer)


def begin_ring(storage: Storage, fd: int, identity: RingIdentity, next_sequence: int) -> None:
    """Empties a ring for a new epoch: identity with a new salt, control words, counters; synced."""
    words = {
        "head_sequence": next_sequence - 1,
        "freed_sequence": next_sequence - 1,
        "durable": next_sequence - 1,
    }
    page = bytearray(ring.DATA_OFFSET)
    packed = pack_ring_identity(identity)
    page[: len(packed)] = packed
    for i, name in enumerate(CONTROL_WORDS):
        at = CONTROL_OFFSET + i * CONTROL_SPACING
        page[at : at + 8] = words.get(name, 0).to_bytes(8, "little")
    write_all(storage, fd, page, 0)
    storage.fdatasync(fd)


def read_control(data: bytes, name: str) -> int:
    """A control word out of a ring file's bytes."""
    at = CONTROL_OFFSET + CONTROL_WORDS.index(name) * CONTROL_SPACING
    return int.from_bytes(data[at : at + 8], "little")


assert HEADER.size == 128
