"""The journal and the event-id window of a worker under `ack = "replicated"`: what requests wait for is that the
stream acknowledges, besides the disk. Both stand in the places of those whose work they hand on.

The worker rings for the shipper when a group is durable, and looks at the shipper's rows (`replicas`) when it is
rung for. A record of this claim is acknowledged only by blocks of its own epoch; what a request repeats, by what
the stream is known to have of its writer. Event loop only. The time is bounded by who waits
(`dialects.wire.ingest`), how many wait is bounded here; and where the stream is known to be away nothing is taken,
so that what clients send again and again isn't there as many times.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from fanion._core.window import Reservation
from fanion.errors import JournalError, JournalFullError, JournalOpeningError
from fanion.journal.replicas import NOTHING, OPENING, TAKES, Board, Taken, heard
from fanion.telemetry.replicated import BOUNDS_US

WAITING_MAX: Final = 4_096
"""Requests of a worker that wait for the stream; at 5,000 a second what comes in 0.8 s."""
ABSENT: Final = "the stream doesn't acknowledge now, and answers wait for it (journal.ack)"


class DiskJournal(Protocol):
    """What is asked of `fanion.journal.writer`."""

    @property
    def identity(self) -> tuple[int, int]: ...
    @property
    def machine(self) -> bytes: ...
    @property
    def first_sequence(self) -> int: ...
    @property
    def next_sequence(self) -> int: ...
    def append(self, *_: Any, **record: Any) -> int: ...
    def durable(self, sequence: int) -> asyncio.Future[None]: ...


class DiskWindow(Protocol):
    """What is asked of `fanion.journal.window`."""

    @property
    def ready(self) -> bool: ...
    def reserve(self, scope: bytes, ids: list[str | bytes | None]) -> Reservation: ...
    async def settle(self, reservation: Reservation) -> None: ...


class _Waiting(NamedTuple):
    identity: tuple[int, int]
    sequence: int
    future: asyncio.Future[None]
    began: float


class ReplicatedJournal:
    """`bell`: of this worker."""

    def __init__(
        self, journal: DiskJournal, board: Board, bell: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._journal = journal
        self._board = board
        self._bell = bell
        self._loop = loop
        self._waiting: deque[_Waiting] = deque()
        self._sleeping: set[asyncio.Future[None]] = set()
        self._watched = 0
        self._closed = False
        self.refused = 0
        self.times_us = [0] * (len(BOUNDS_US) + 1)
        self.sum_us = 0
        loop.add_reader(bell, self._on_bell)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._bell)
            self._fail("the server ends")

    def append(self, **record: Any) -> int:
        """As the journal's; JournalFullError also where the stream is away or too many wait for it."""
        self.admit()
        return self._journal.append(**record)

    def durable(self, sequence: int) -> asyncio.Future[None]:
        """Resolves when the record is on disk and the stream has acknowledged it. JournalError where the journal
        can't tell any more; nothing, as long as the stream doesn't answer."""
        future: asyncio.Future[None] = self._loop.create_future()
        identity = self._journal.identity
        if self._closed or identity[0] < 0:
            future.set_exception(JournalError("the journal is not open"))
            return future
        waiting = self._waiting
        waiting.append(_Waiting(identity, sequence, future, time.monotonic()))
        if not self._watched:
            self._watch()
        return future

    async def confirm(self, records: list[tuple[int, int]]) -> None:
        """Returns once the stream has all of them, given as (writer, sequence), which are on disk."""
        if records and not self._have(records):
            self.admit()
            while not self._have(records):
                sleep: asyncio.Future[None] = self._loop.create_future()
                self._sleeping.add(sleep)
                try:
                    await sleep
                finally:
                    self._sleeping.discard(sleep)

    @property
    def waiting(self) -> int:
        """Requests that wait now."""
        return len(self._waiting) + len(self._sleeping)

    def notes(self) -> list[str]:
        """What an operator should look at."""
        return [] if self._board.state in (OPENING, TAKES) else [f"journal: events are refused: {ABSENT}"]

    def admit(self) -> None:
        """Raises JournalFullError where no request may wait now."""
        state, waiting = self._board.state, self._waiting
        while waiting and waiting[0].future.done():
            waiting.popleft()
        if state == TAKES and self.waiting < WAITING_MAX:
            return
        self.refused += 1
        if state == OPENING:
            raise JournalOpeningError("the stream was not reached yet, and answers wait for it")
        if state == TAKES:
            raise JournalFullError(f"{self.waiting} requests wait for the stream, the most that may")
        raise JournalFullError(ABSENT)

    def _watch(self) -> None:
        """Rings for the shipper behind the disk: one wait at a time, for all that were appended meanwhile."""
        self._watched = self._journal.next_sequence - 1
        if self._watched > 0:
            self._journal.durable(self._watched).add_done_callback(self._synced)
        else:
            self._fail("the journal was closed meanwhile")

    def _synced(self, synced: asyncio.Future[None]) -> None:
        watched, self._watched = self._watched, 0
        if synced.cancelled() or (error := synced.exception()) is not None:
            self._fail("" if synced.cancelled() else str(error))
            return
        self._board.ring_shipper()
        if self._waiting and self._waiting[-1].sequence > watched:
            self._watch()

    def _on_bell(self) -> None:
        heard(self._bell)
        identity = self._journal.identity
        row = self._own_row(identity[0])
        now, waiting = time.monotonic(), self._waiting
        while waiting:
            one = waiting[0]
            if one.future.done():
                pass
            elif one.identity != identity:
                one.future.set_exception(JournalError("the journal was opened anew meanwhile"))
            elif row.epoch == identity[1] and one.sequence < row.first:
                one.future.set_exception(JournalError("the record could not be shipped"))
            elif not _has_own(row, identity, one.sequence):
                break
            else:
                one.future.set_result(None)
                took_us = int((now - one.began) * 1e6)
                self.times_us[bisect_left(BOUNDS_US, took_us)] += 1
                self.sum_us += took_us
            waiting.popleft()
        sleeping, self._sleeping = self._sleeping, set()
        for sleep in sleeping:
            if not sleep.done():
                sleep.set_result(None)

    def _have(self, records: list[tuple[int, int]]) -> bool:
        identity, first = self._journal.identity, self._journal.first_sequence
        for writer, sequence in records:
            row = self._own_row(writer)
            if writer == identity[0] and sequence >= first:
                if not _has_own(row, identity, sequence):
                    return False
            elif not row.since <= sequence < row.until:
                return False
        return True

    def _own_row(self, writer: int) -> Taken:
        """Of this journal; a row of another one counts as nothing."""
        row = self._board.row(writer) if writer >= 0 else NOTHING
        return row if row.machine == self._journal.machine else NOTHING

    def _fail(self, reason: str) -> None:
        waiting, self._waiting = self._waiting, deque()
        sleeping, self._sleeping = self._sleeping, set()
        for future in (*(each.future for each in waiting), *sleeping):
            if not future.done():
                future.set_exception(JournalError(reason or "the journal can't tell"))


def _has_own(row: Taken, identity: tuple[int, int], sequence: int) -> bool:
    return row.epoch == identity[1] and row.first <= sequence < row.next


class ReplicatedWindow:
    """The window whose duplicates are acknowledged only when the stream has what they repeat."""

    def __init__(self, window: DiskWindow, confirm: Callable[[list[tuple[int, int]]], Any]) -> None:
        self._window = window
        self._confirm = confirm

    @property
    def ready(self) -> bool:
        return self._window.ready

    def reserve(self, scope: bytes, ids: list[str | bytes | None], /) -> Reservation:
        return self._window.reserve(scope, ids)

    async def settle(self, reservation: Reservation, /) -> None:
        """Raises JournalError."""
        repeats = reservation.repeats
        await self._window.settle(reservation)
        await self._confirm(repeats)
