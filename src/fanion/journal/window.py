"""The event-id window: tells a new event id from a repeated one, across workers, crashes and restarts.

It is an index of the journal, never its authority: the file in DIR/shared is forgotten at a reboot and put together
again from the ids that the records carry (`window_rebuild`); the key of all hashes lives beside the journal. The
algorithm stands in `fanion_window.h`.

How a request uses it, on the event loop's thread, with nothing awaited before the commit:

    reservation = window.reserve(scope, ids)            # JournalFullError while the window isn't ready
    try:
        sequence = journal.append(..., dispositions=..., ids=reservation.hashes)
    except JournalFullError:
        reservation.release()                           # nothing was kept, so nothing is remembered
        raise
    reservation.commit(sequence)                        # nothing to write at all: release() instead
    await journal.durable(sequence)
    await window.settle(reservation)                    # what the duplicates repeat is as safe as promised

The record's number is known before it is published, since one process appends to a ring; so a crash at any point
leaves entries that either name a record of the journal or lie above its recovered end, and those are void:
`follow`, once per claim of a journal slot, says so.

Used twice: `ids` for event ids (scope: the environment or project), `replays` for one-time tokens (Red Pennon's
traces: the id is token and event name). Tokens have a file of their own so that a flood of events doesn't push them
out, and each scope has a lane of its own in each file, so that its flood pushes out nobody else's. Tokens need no
clock, since one beyond its lifetime is refused for its age: the size is what has to cover the lifetime.
A request's token hashes follow its event-id hashes in the record's `ids`: events come first, one for each
disposition (zeros: no id), and the rest are tokens. So a record with tokens must have dispositions.

Decisions
    2026-11  A lane for each scope, of full size and grown as its ids come, for the first 16 that come after a boot;
             who comes later shares one. One table for all was pushed out by one tenant's flood. Quotas within one
             table: its slots can't be forgotten one by one, and a tenant above its share would need a second table
             that its neighbours are pushed out of in turn. Lanes that split one size: a server of one tenant would
             remember a sixteenth. So the setting is what a tenant is remembered of, and the disk follows those who
             send: 64 bytes an id, at most 16 times the setting.
    2026-11  An id's hash says whose it is (24 bits of it), so a rebuild needs nothing but the records: they name
             the environment, and ids are a project's. The mapping from one to the other, handed in by each dialect,
             would be today's, not that of the day the record was written.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from pathlib import Path
from typing import Protocol

from fanion._core.window import FIRST_IDS, KEY_BYTES, IdWindow, Reservation, siphash
from fanion.errors import JournalError, JournalFullError, JournalOpeningError, ServeError
from fanion.journal.files import machine_id
from fanion.journal.settings import JournalSettings
from fanion.journal.storage import Storage, read_file
from fanion.journal.window_rebuild import complete_writer, heal_writer, rebuild
from fanion.small_files import make_file

log = logging.getLogger("fanion.journal")

IDS, REPLAYS = "ids", "replays"
KEY_NAME = "window.key"
REBUILD_LOCK = 0
"""Byte of the window's file that who rebuilds it holds."""
SETTLE_TIMEOUT_S = 1.0
"""What a duplicate waits for another worker's record: beyond, the client is told to send again."""
HEAL_AFTER_S = 0.05
POLL_FIRST_S, POLL_LAST_S = 0.0005, 0.02
RETRY_S = 0.05
GROW_AGAIN_S = 1.0
"""After a disk that had no room for a larger window."""


class Journal(Protocol):
    """What the window asks of the journal; see `fanion.journal.writer`."""

    @property
    def identity(self) -> tuple[int, int]: ...
    @property
    def first_sequence(self) -> int: ...
    @property
    def next_sequence(self) -> int: ...
    def durable(self, sequence: int) -> asyncio.Future[None]: ...


class EventWindow:
    """One window of a data directory, as one worker uses it. Made by `open`; belongs to the event loop's thread."""

    def __init__(
        self, window: IdWindow, storage: Storage, directory: Path, name: str, settings: JournalSettings
    ) -> None:
        self._window = window
        self._storage = storage
        self.directory = directory
        self._settings = settings
        self._extra = name == REPLAYS
        self._journal: Journal | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._identity = (-1, 0)
        self._writer = -1
        self._last = 0
        self._watching = False
        self._closing = False
        self._growing = False
        self._grow_at = 0.0
        self._in_thread = threading.Lock()
        """Held by what runs beside the event loop; the map is let go only after it."""

    @classmethod
    def open(
        cls,
        directory: Path,
        capacity: int,
        *,
        name: str = IDS,
        settings: JournalSettings | None = None,
        storage: Storage | None = None,
        replace: bool = False,
        first: int = FIRST_IDS,
    ) -> EventWindow:
        """Opens or makes DIR/shared/window-NAME. `capacity`: ids remembered of a scope at least; 64 bytes of disk
        and memory each, once as many have come; it begins with `first`. `replace`: a window that is damaged, of
        another size or of another journal is made anew; only for the process that starts the others, and where
        another directory was put in place of a running server's. Raises ServeError.
        """
        storage = storage or Storage()
        shared, journal = directory / "shared", directory / "journal"
        try:
            for folder in (shared, journal):
                storage.make_directory(folder)
            key = load_key(storage, journal)
            identity = int.from_bytes(siphash(key, machine_id(storage, journal)), "little")
            path = shared / f"window-{name}"
            window = IdWindow(str(path), capacity, key, identity, replace=replace, first=first)
            if replace and not window.is_plausible():
                window.close()
                path.unlink()
                window = IdWindow(str(path), capacity, key, identity, first=first)
        except (OSError, ValueError, JournalError) as error:
            raise ServeError(f"the event-id window can't be used: {error}") from error
        return cls(window, storage, directory, name, settings or JournalSettings())

    @property
    def ready(self) -> bool:
        """Whether ids can be told apart now: the window holds what the journal says, and follows a claim."""
        return self._window.ready and self._writer >= 0

    def follow(self, journal: Journal) -> bool:
        """Takes up the journal's claim: voids what an owner that died had reserved and never published.

        False: the journal isn't open or the window isn't ready; ask again. Reads the journal's tail after an
        unclean end. Raises JournalError when that can't be read.
        """
        self._journal = journal
        identity = journal.identity
        if identity[0] < 0:
            return False
        if identity != self._identity:
            self._window.announce(*identity)
        if not self._window.ready:
            return False
        if identity != self._identity:
            writer, end = identity[0], journal.first_sequence - 1
            try:
                complete_writer(self._window, self._storage, self.directory, writer, end, extra=self._extra)
            except OSError as error:
                raise JournalError(f"the event-id window can't read the journal: {error}") from error
            self._window.attach(writer, end)
            self._identity, self._writer, self._last = identity, writer, end
        return True

    def rebuild(self) -> bool:
        """Puts the window together from the journal when that is due and nobody else does it. True: it is ready.
        May take seconds: for a thread of its own (`prepare`). Raises JournalError."""
        window = self._window
        with self._in_thread:
            if self._closing:
                raise JournalError("the event-id window is closed")
            if window.ready or not window.try_lock(REBUILD_LOCK):
                return window.ready
            try:
                if not window.ready:
                    extra, stopped = self._extra, self._is_closing
                    rebuild(window, self._storage, self.directory, self._settings, stopped, extra=extra)
                    window.mark_ready()
                return True
            except OSError as error:
                raise JournalError(f"the event-id window can't be rebuilt: {error}") from error
            finally:
                window.unlock(REBUILD_LOCK)

    def _is_closing(self) -> bool:
        return self._closing

    async def prepare(self, journal: Journal) -> None:
        """Has the window rebuilt, whoever does it, and follows the journal; returns when `ready`.

        Raises JournalError when the journal can't be read now; ask again.
        """
        while not self.follow(journal):  # first of all, so that who rebuilds needn't wait for us
            await asyncio.to_thread(self.rebuild)
            await asyncio.sleep(0 if self._window.ready else POLL_LAST_S)

    def reserve(self, scope: bytes, ids: list[str | bytes | None]) -> Reservation:
        """Reserves the ids of one request for the record that is appended next. None: an event without an id.

        The reservation's `dispositions` has a byte per id (0 new, 2 repeated, also within the request) and `hashes`
        16 bytes per id for the record (zeros for a repeat: its event may stay in the record, but the id is that of
        the record which had it first). Raises JournalFullError when repeats can't be told now: nothing may be kept.
        """
        journal = self._journal
        if not self._window.ready:
            raise JournalOpeningError("the event-id window is being rebuilt from the journal")
        if journal is None or (journal.identity != self._identity and not self.follow(journal)):
            raise JournalFullError("the journal is not open, so event ids can't be told apart")
        sequence = journal.next_sequence
        reservation = self._window.reserve(scope, ids, self._writer, sequence)
        if reservation is None:
            self._grow()
            raise JournalFullError("the event-id window is full until more of the disk can be had for it")
        self._last = sequence
        if not self._watching:
            self._watching = True
            self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self._watch)
        return reservation

    async def settle(self, reservation: Reservation) -> None:
        """Returns once every record that the request repeats is as safe as the ack mode promises here: on disk.

        JournalError when that can't be told within a second, or when such a record never came to be (its worker
        died first): the client has to send again.
        """
        if (state := reservation.check()) is True:
            return
        started, pause, heal_at = time.monotonic(), POLL_FIRST_S, HEAL_AFTER_S
        while state is False:
            others = False
            for writer, sequence in reservation.waits:
                if writer == self._writer and self._journal is not None:
                    await self._journal.durable(sequence)
                    self._window.settle(writer, sequence)
                else:
                    others = True
            waited = time.monotonic() - started
            if waited > SETTLE_TIMEOUT_S:
                raise JournalError("the record that this request repeats is not safe yet")
            if others and waited > heal_at:
                await asyncio.to_thread(self._heal, reservation.waits)
                heal_at = time.monotonic() - started + HEAL_AFTER_S
            if others:
                await asyncio.sleep(pause)
                pause = min(pause * 2, POLL_LAST_S)
            state = reservation.check()
        if state is None:
            raise JournalError("the record that this request repeats was lost with its worker")

    def metrics(self) -> dict[str, int]:
        """claims, evicted, early_turns, leaked: see `IdWindow.counters`; capacity."""
        return {**self._window.counters(), "capacity": self._window.capacity}

    def lane_claims(self) -> list[int]:
        """Ids that each scope with a lane of its own ever took."""
        return self._window.lane_claims()

    def close(self) -> None:
        """Unmaps the window. If something isn't known to be safe yet, the next owner looks."""
        writer, self._writer = self._writer, -1
        if writer >= 0 and self._last <= self._window.settled(writer):
            self._window.detach(writer, self._last)
        self._closing = True
        with self._in_thread:
            self._window.close()

    def _heal(self, waits: list[tuple[int, int]]) -> None:
        """Voids what dead owners, whose rings were drained by someone else meanwhile, left in the way. What can't
        be read now, because retention took a file, is tried again."""
        with self._in_thread, contextlib.suppress(OSError):
            for writer, _ in waits:
                if not self._closing and writer != self._writer and self._window.is_attached(writer):
                    heal_writer(self._window, self._storage, self.directory, writer, extra=self._extra)

    def _watch(self) -> None:
        """Raises `settled` behind the journal: one wait at a time, for all records that were reserved meanwhile."""
        assert self._loop is not None
        self._watching = False
        journal, writer = self._journal, self._writer
        if journal is None or writer < 0 or journal.identity != self._identity:
            return
        if self._window.wants_growth:
            self._grow()
        target = min(self._last, journal.next_sequence - 1)
        if target > self._window.settled(writer):
            self._watching = True
            journal.durable(target).add_done_callback(lambda future: self._settled(writer, target, future))
        elif self._window.open_reservations:
            self._watching = True
            self._loop.call_later(RETRY_S, self._watch)

    def _grow(self) -> None:
        """Makes the window larger, beside the event loop; what comes meanwhile finds room in what is to spare."""
        if self._growing or time.monotonic() < self._grow_at:
            return
        self._growing = True
        growing = asyncio.get_running_loop().run_in_executor(None, self._grow_once)
        growing.add_done_callback(self._grown)

    def _grow_once(self) -> None:
        with self._in_thread:
            if not self._closing:
                self._window.grow()

    def _grown(self, growing: asyncio.Future[None]) -> None:
        self._growing = False
        if not growing.cancelled() and (error := growing.exception()) is not None:
            self._grow_at = time.monotonic() + GROW_AGAIN_S
            log.error("the event-id window can't be made larger", extra={"reason": str(error)})

    def _settled(self, writer: int, target: int, future: asyncio.Future[None]) -> None:
        assert self._loop is not None
        if writer != self._writer:
            return
        if not future.cancelled() and future.exception() is None:
            self._window.settle(writer, target)
            self._watch()
        else:
            self._loop.call_later(RETRY_S, self._watch)


def load_key(storage: Storage, journal: Path) -> bytes:
    """The key of the id hashes, made by whoever comes first. Raises JournalError for a file that isn't one."""
    path = journal / KEY_NAME
    try:
        key = read_file(storage, path)
    except FileNotFoundError:
        pass
    else:
        if len(key) != KEY_BYTES:
            raise JournalError(
                f"{path}: {len(key)} bytes, {KEY_BYTES} are a key; restore the file, or remove it to forget all ids"
            )
        return key
    make_file(storage, path, storage.random(KEY_BYTES))
    return load_key(storage, journal)
