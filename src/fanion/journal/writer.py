"""The journal as the event loop sees it: append a record, learn when it is durable.

One `JournalWriter` per worker process. `append` copies the record into the ring and returns; it never waits and
never touches a file. One eventfd signal per group resolves all futures that the group made durable. Opening never
fails for the disk's sake: a journal that can't be opened says so in `state()` and is opened as soon as it can be.
All methods belong to the event loop's thread. After fork: open anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from fanion._core.ring import histogram_bounds
from fanion.errors import JournalError, JournalFullError, JournalOpeningError
from fanion.journal.session import Session
from fanion.journal.settings import JournalSettings
from fanion.journal.steward import Steward
from fanion.journal.storage import Storage

CLOSE_TIMEOUT_MS = 3_500
"""What `close` gives the writer to drain; the server's own limit for an orderly end is 4 s."""
JOURNAL_DIRECTORY = "journal"


class JournalState(msgspec.Struct, frozen=True):
    """Whether events are taken, for readyz. `fatal`: this process won't recover and should be replaced. `opening`:
    it has just begun, and nothing is wrong."""

    ok: bool
    reason: str = ""
    fatal: bool = False
    opening: bool = False


class JournalWriter:
    """Made by `open`."""

    def __init__(
        self, directory: Path, settings: JournalSettings, loop: asyncio.AbstractEventLoop, storage: Storage
    ) -> None:
        self._settings = settings
        self._loop = loop
        self._buffered = settings.ack == "buffered"
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._session: Session | None = None
        self._ring: Any = None
        self._closed = False
        self._borrowers: list[Callable[[Any], None]] = []
        self._steward = Steward(storage, directory / JOURNAL_DIRECTORY, settings, self)

    @classmethod
    def open(
        cls,
        directory: Path,
        settings: JournalSettings,
        loop: asyncio.AbstractEventLoop,
        storage: Storage | None = None,
    ) -> JournalWriter:
        """The journal of the data directory `directory`: claims a slot, recovers it, starts the writer thread.

        Raises ConfigError for settings that contradict each other; everything else is told by `state()`.
        """
        settings.check()
        writer = cls(directory, settings, loop, storage or Storage())
        writer._steward.open()
        writer._steward.start()
        return writer

    def append(
        self,
        *,
        dialect: str,
        environment: str,
        received_ns: int,
        body: bytes,
        whole: bool,
        dispositions: bytes = b"",
        ids: bytes = b"",
    ) -> int:
        """Takes one record and returns its sequence; JournalFullError when nothing was taken.

        `received_ns`: wall clock, ns since 1970. `whole`: the body is the request's as received, else a JSON array
        of the kept events. `dispositions`: a byte per event (0 kept, 1 verified, 2 duplicate), empty: all kept.
        `ids`: 16 bytes per event, the hashes of their ids.
        """
        ring = self._ring
        if ring is None:
            raise self._refusal(self._steward.health.reason)
        sequence: int = ring.append(dialect, environment, received_ns, body, whole, dispositions, ids)
        if sequence > 0:
            return sequence
        if sequence < 0:
            raise JournalFullError(f"a record of {len(body)} bytes; the ring takes {ring.record_bytes_max}")
        raise self._refusal(self.state().reason or f"the ring holds {ring.used_bytes} bytes, its limit")

    def durable(self, sequence: int) -> asyncio.Future[None]:
        """Resolves when the record is as safe as the ack mode promises here: on disk, or at once (buffered). What
        `replicated` promises besides is `fanion.journal.replicated`'s.

        JournalError when it can't be told in time; the record may still become durable later.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        ring = self._ring
        if ring is None:
            future.set_exception(JournalError(self._steward.health.reason))
        elif self._buffered or ring.durable >= sequence:
            future.set_result(None)
        else:
            self._waiting.append((sequence, future))
        return future

    def lend(self, take: Callable[[Any], None]) -> None:
        """Hands over the ring for records that nobody waits for, now and whenever it is another one; None while
        there is none. On the event loop's thread."""
        self._borrowers.append(take)
        take(self._ring)

    def _lend_again(self) -> None:
        for take in self._borrowers:
            take(self._ring)

    def state(self) -> JournalState:
        """Whether events are taken now, and if not, why."""
        if self._closed:
            return JournalState(False, "the journal is closed")
        health = self._steward.health
        ring = self._ring
        if health.ok and ring is not None and ring.used_bytes >= ring.shed_bytes:
            return JournalState(False, f"the ring is full: {ring.used_bytes} of {ring.capacity} bytes")
        return JournalState(health.ok, health.reason, health.fatal, health.opening)

    def metrics(self) -> dict[str, Any]:
        """Plain numbers of this worker; the two histograms count by `bounds_us` (upper bounds)."""
        ring = self._ring
        if ring is None:
            return {}
        values, latency, syncs = ring.counters()
        values |= {
            "ring_used_bytes": ring.used_bytes,
            "ring_capacity_bytes": ring.capacity,
            "durable_sequence": ring.durable,
            "head_sequence": ring.head_sequence,
        }
        return {**values, "receipt_to_durable": latency, "sync_time": syncs, "bounds_us": histogram_bounds()}

    @property
    def identity(self) -> tuple[int, int]:
        """(writer, epoch) of the records that are being appended; (-1, 0) while the journal is not open."""
        session = self._session
        return (session.slot.writer, session.recovered.epoch) if session else (-1, 0)

    @property
    def machine(self) -> bytes:
        """The journal's; empty while it is not open."""
        return self._session.machine if self._session else b""

    @property
    def first_sequence(self) -> int:
        """The first sequence of this claim: the log holds all below it; 0 while the journal is not open."""
        session = self._session
        return session.recovered.next_sequence if session else 0

    @property
    def next_sequence(self) -> int:
        """What `append` would return now; 0 while the journal is not open."""
        ring = self._ring
        return ring.head_sequence + 1 if ring is not None else 0

    def close(self) -> None:
        """Drains and syncs what the ring holds, and releases the slot; what can't be written stays in the ring."""
        if self._closed:
            return
        self._steward.stop()
        session, self._session = self._session, None
        self._closed = True
        if session is not None:
            self._loop.remove_reader(session.native.durable_fd)
            self._drain(session)
            self._resolve(self._ring.durable)
            self._ring = None
            self._lend_again()
        elif self._steward.session is not None:
            self._steward.session.finish()  # opened by the steward, not yet attached
        self.fail_waiting_now("the journal is closed")

    def _drain(self, session: Session) -> None:
        native = session.native
        native.stop()
        poller = select.poll()
        poller.register(native.durable_fd, select.POLLIN)
        deadline = session.storage.now() + CLOSE_TIMEOUT_MS * 1_000_000
        while not native.ended and session.storage.now() < deadline:
            session.settle_retired()
            if native.blocked and not native.offers:
                with contextlib.suppress(OSError, JournalError):
                    session.offer_segment(zeroed=False)
            poller.poll(10)
            with contextlib.suppress(BlockingIOError):
                os.read(native.durable_fd, 8)
        if not native.ended:
            native.stop_now()
            poller.poll(100)
        if native.ended:
            native.join()
            session.finish()
        else:
            native.leave_running()

    # The steward's calls; each hops to the event loop's thread.

    def attach(self, session: Session) -> None:
        if self._session is None and not self._steward.running:
            self._attach(session)
        else:
            self._loop.call_soon_threadsafe(self._attach, session)

    def detach(self, reason: str) -> None:
        self._loop.call_soon_threadsafe(self._detach, reason)
        self._steward.detached.wait(timeout=5.0)

    def fail_waiting(self, reason: str) -> None:
        self._loop.call_soon_threadsafe(self.fail_waiting_now, reason)

    def call(self, work: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(work)

    # The event loop's thread.

    def _attach(self, session: Session) -> None:
        if self._closed:
            return
        self._session = session
        self._ring = session.ring
        self._lend_again()
        self._loop.add_reader(session.native.durable_fd, self._on_durable)
        session.native.start(raise_priority=self._settings.raise_priority)

    def _detach(self, reason: str) -> None:
        if self._session is not None:
            self._loop.remove_reader(self._session.native.durable_fd)
        self._session = self._ring = None
        self._lend_again()
        self.fail_waiting_now(reason)
        self._steward.detached.set()

    def _on_durable(self) -> None:
        session = self._session
        if session is None:
            return
        with contextlib.suppress(BlockingIOError):
            os.read(session.native.durable_fd, 8)
        self._resolve(self._ring.durable)

    def _refusal(self, reason: str) -> JournalFullError:
        return (JournalOpeningError if self._steward.health.opening else JournalFullError)(reason)

    def _resolve(self, durable: int) -> None:
        waiting = self._waiting
        while waiting and waiting[0][0] <= durable:
            _, future = waiting.popleft()
            if not future.done():
                future.set_result(None)

    def fail_waiting_now(self, reason: str) -> None:
        """Answers all who wait for a record that isn't durable yet."""
        if self._ring is not None:
            self._resolve(self._ring.durable)
        waiting, self._waiting = self._waiting, deque()
        for _, future in waiting:
            if not future.done():
                future.set_exception(JournalError(reason))
