"""What the stream has of each writer's records, in memory that the supervisor makes before it forks: written by the
shipper, read by workers, under `ack = "replicated"`.

    0      state u64, beat u64 (CLOCK_MONOTONIC in ns), zeros: of the shipper
    64     for each writer 64 bytes: CRC-32 of what follows, 4 zeros, machine (16 bytes), then u64 each:
           epoch, first, next    first to next - 1: the stream acknowledged them, in blocks of this epoch
           since, until          since to until - 1: it acknowledged them in blocks of any epoch, and has them

One writer, the shipper that runs; whichever process reads it copies 64 bytes. A row that is read while it is
written, or that a killed shipper left half written, doesn't match its checksum and counts as nothing acknowledged.

Bells: an eventfd for the shipper and one for each worker, inherited by fork. A row is written, then the bell is
rung; who hears it empties the bell, then reads: so nothing is missed.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import time
import zlib
from typing import Final, NamedTuple

from fanion.errors import JournalError

ROWS: Final = 999
"""As many as writers."""
ROW: Final = struct.Struct("<I4x16sQQQQQ")
ROW_BYTES: Final = 64
STALE_S: Final = 3.0
"""A shipper that says nothing for so long acknowledges nothing now: it waits for an answer of the stream, was
stopped, or is gone."""
OPENING, TAKES, AWAY = range(3)
"""The shipper's state. TAKES: the stream took all that was there at the last look."""


class Taken(NamedTuple):
    """A writer's row."""

    machine: bytes = bytes(16)
    epoch: int = 0
    first: int = 0
    next: int = 0
    since: int = 0
    until: int = 0


NOTHING: Final = Taken()


class Board:
    """Made once, before the first fork. `workers`: how many have a bell."""

    def __init__(self, workers: int) -> None:
        self._map = mmap.mmap(-1, (1 + ROWS) * ROW_BYTES)
        self._head = memoryview(self._map)[:16].cast("Q")
        flags = os.EFD_NONBLOCK | os.EFD_CLOEXEC
        self.bells = [os.eventfd(0, flags) for _ in range(workers)]
        self.shippers_bell = os.eventfd(0, flags)

    def close(self) -> None:
        for bell in (*self.bells, self.shippers_bell):
            os.close(bell)
        self._head.release()
        self._map.close()

    def put(self, writer: int, row: Taken) -> None:
        """The shipper's."""
        content = ROW.pack(0, *row)
        checksum = zlib.crc32(content[8:]).to_bytes(4, "little")
        at = (1 + check_writer(writer)) * ROW_BYTES
        self._map[at : at + ROW_BYTES] = checksum + content[4:]

    def row(self, writer: int) -> Taken:
        """`NOTHING` where it doesn't verify."""
        at = (1 + check_writer(writer)) * ROW_BYTES
        content = self._map[at : at + ROW_BYTES]
        checksum, *fields = ROW.unpack(content)
        return Taken(*fields) if checksum == zlib.crc32(content[8:]) else NOTHING

    def say(self, state: int) -> None:
        """The shipper's; a beat, too."""
        self._head[0] = state
        self.beat()

    def beat(self) -> None:
        self._head[1] = time.monotonic_ns()

    @property
    def state(self) -> int:
        """AWAY also where the shipper was not heard for `STALE_S`."""
        if self._head[0] == TAKES and time.monotonic_ns() - self._head[1] > STALE_S * 1e9:
            return AWAY
        return self._head[0]

    def ring_shipper(self) -> None:
        ring(self.shippers_bell)

    def ring_workers(self) -> None:
        for bell in self.bells:
            ring(bell)


def check_writer(writer: int) -> int:
    """Itself. Raises JournalError."""
    if not 0 <= writer < ROWS:
        raise JournalError(f"writer {writer}; 0 to {ROWS - 1} are allowed")
    return writer


def ring(bell: int) -> None:
    with contextlib.suppress(BlockingIOError):  # full: it rings
        os.eventfd_write(bell, 1)


def heard(bell: int) -> bool:
    """Whether it rang since it was asked last."""
    try:
        return bool(os.eventfd_read(bell))
    except BlockingIOError:
        return False
