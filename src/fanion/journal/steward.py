"""The steward: the thread that does for the writer thread whatever makes, names, removes or waits.

It makes segments ready before they are needed, seals finished ones, adopts rings of dead workers, watches free
space, the directory and the writer's pulse, opens the journal again after a failure, and runs retention. It never
answers a request, and touches events' bytes only to carry them over from a ring whose directory or owner is gone.
What it finds is published as a `Health`, and what the event loop has to do is handed over with
`call_soon_threadsafe`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from fanion._core import journal_format
from fanion._core.ring import DATA_OFFSET
from fanion.errors import JournalError
from fanion.journal.retention import Upkeep
from fanion.journal.session import Session, adopt_all, open_session
from fanion.journal.settings import JournalSettings
from fanion.journal.slot import slot_path
from fanion.journal.storage import Storage
from fanion.journal.turning import Turning
from fanion.telemetry.logs import Sparing

log = logging.getLogger("fanion.journal")

TICK_MS = 100
ADOPT_EVERY_NS = 300_000_000
RETAIN_EVERY_NS = 2_000_000_000
FAILURE_GRACE_NS = 250_000_000
"""A failure that a spare segment mends at once is nobody's business but the counters'."""
RETRY_FIRST_NS = 50_000_000
RETRY_LAST_NS = 1_000_000_000
DETACH_TIMEOUT_NS = 1_000_000_000
LOOK_NS_MAX = 250_000_000
"""What one look can add to the time that the writer is found still: a steward, or a whole machine, that was away
for longer says nothing about the writer."""
LOOP_NICE = 5
"""Of an event loop's thread whose writer thread got neither SCHED_FIFO nor nice -10."""

OPENING = "the journal is being opened"
DRAINING = "rings of earlier workers are being drained"
REFUSE_SPACE, REFUSE_FAILURE, REFUSE_STALL, REFUSE_DIRECTORY = 1, 2, 4, 8


class Health(NamedTuple):
    """What the steward last saw. `fatal`: only a new process helps. `opening`: it has just begun."""

    ok: bool
    reason: str = ""
    fatal: bool = False
    opening: bool = False


class Owner(Protocol):
    """The event loop's side; all may come from the steward's thread."""

    def attach(self, session: Session) -> None: ...
    def detach(self, reason: str) -> None: ...
    def fail_waiting(self, reason: str) -> None: ...
    def call(self, work: Callable[[], None]) -> None: ...


class Steward:
    """`tick` is one round; `start` runs rounds in a thread until `stop`. Tests call `tick` themselves."""

    def __init__(self, storage: Storage, directory: Path, settings: JournalSettings, owner: Owner) -> None:
        self._storage = storage
        self._directory = directory
        self._settings = settings
        self._owner = owner
        self.session: Session | None = None
        self.health = Health(False, OPENING, opening=True)
        self._opening = True
        self._recovered = self._placed = False
        self._loop_thread = 0
        self._carried: list[tuple[int, int, bytes]] = []
        self._open_at = self._adopt_at = self._retain_at = self._make_at = 0
        self._retry_ns = RETRY_FIRST_NS
        self._failing_since = self._failures_seen = self._looked_at = self._still_ns = 0
        self._durable_seen = -1
        self._told_ok = True
        self._sparing = Sparing()
        self._make_error = ""
        self._stopping = threading.Event()
        self.detached = threading.Event()
        self._thread: threading.Thread | None = None
        self._upkeep = Upkeep(storage, directory, settings)
        self._turning = Turning(storage, directory, owner.call)

    @property
    def running(self) -> bool:
        return self._thread is not None

    def start(self) -> None:
        """From the event loop's thread."""
        self._loop_thread = threading.get_native_id()
        self._thread = threading.Thread(target=self._run, name="fanion-journal-steward", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; after that the session belongs to the caller."""
        self._stopping.set()
        if self.session is not None:
            self.session.native.wake_steward()
        if self._thread is not None:
            self._thread.join()
        self._upkeep.close()

    def open(self) -> None:
        """Opens the journal if that is possible now; else `health` says why not."""
        try:
            session = open_session(self._storage, self._directory, self._settings)
        except (OSError, JournalError) as error:
            self._tell(Health(False, f"the journal can't be opened: {error}"))
            self._open_at = self._storage.now() + self._retry_ns
            self._retry_ns = min(self._retry_ns * 2, RETRY_LAST_NS)
            return
        self._retry_ns = RETRY_FIRST_NS
        for kind, received_ns, payload in self._carried:
            session.ring.append_payload(payload, received_ns, kind)
        self._carried = []
        with contextlib.suppress(OSError):
            session.offer_segment(zeroed=False)
        self._failing_since = self._failures_seen = self._looked_at = self._still_ns = 0
        self._recovered = self._placed = False
        self._durable_seen = -1
        self._report(session)
        self._tell(Health(False, DRAINING, opening=self._opening))
        self.session = session
        self._owner.attach(session)

    def _report(self, session: Session) -> None:
        """What recovery found, in the log."""
        found, writer = session.recovered, session.slot.writer
        for damage in found.damages:
            reason = f"bytes {damage.offset}-{damage.end_offset} of the last log segment do not verify"
            extra = {
                "writer": writer,
                "sequence": damage.sequence,
                "count": damage.next_sequence - damage.sequence,
            }
            log.error("records of the journal are lost", extra={**extra, "reason": reason})
        if found.torn or found.moved:
            extra = {"writer": writer, "sequence": found.next_sequence, "count": found.moved}
            log.warning(
                "the journal was recovered: a torn tail was cut, ring records were written", extra=extra
            )

    def _run(self) -> None:
        poller = select.poll()
        watched = -1
        while not self._stopping.is_set():
            fd = self.session.native.steward_fd if self.session else -1
            if fd != watched:
                poller = select.poll()
                if fd >= 0:
                    poller.register(fd, select.POLLIN)
                watched = fd
            if poller.poll(TICK_MS) and self.session is not None:
                self.session.native.clear_steward()
            try:
                self.tick()
            except Exception as error:  # the thread must outlive any fault; the next round may do better
                self._tell(Health(False, f"the journal's upkeep fails: {error!r}"))

    def tick(self) -> None:
        """One round. Errors of one duty don't keep the others from being done."""
        now = self._storage.now()
        if self.session is None:
            if now >= self._open_at:
                self.open()
            return
        session = self.session
        self._place(session)
        session.settle_retired()
        self._make_ready(session, now)
        if not self._watch(session):
            return
        with contextlib.suppress(OSError, JournalError):  # who asked hears that this writer didn't answer
            self._turning.run(session)
        if now >= self._adopt_at:
            self._adopt(session)
            self._adopt_at = now + ADOPT_EVERY_NS
        if now >= self._retain_at:
            self._upkeep.run()
            self._retain_at = now + RETAIN_EVERY_NS

    def _place(self, session: Session) -> None:
        """Where the writer thread could not be put before the event loop, the event loop is put behind it."""
        if self._placed or not self._settings.raise_priority or not session.ring.heartbeat_ns:
            return
        self._placed = True
        if session.ring.counters()[0]["priority"] < 2 and self._loop_thread:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self._loop_thread, LOOP_NICE)

    def _make_ready(self, session: Session, now: int) -> None:
        """The first segment and replacements after a failure are not zeroed, because they are wanted at once; the
        others are, once a quarter of the current one is used."""
        waiting = session.native.offers
        quarter = session.ring.segment_bytes >= self._settings.segment_bytes // 4
        wanted = self._settings.ready_segments if quarter else 0
        urgent = session.native.blocked
        if not waiting and urgent:
            wanted = 1
        if waiting >= wanted or now < self._make_at:
            return
        try:
            session.offer_segment(zeroed=not urgent, meanwhile=self._glance)
            self._make_error = ""
            if session.ring.failure:  # the last one failed in the writer's hands: not again at once
                self._make_at = now + self._retry_ns
                self._retry_ns = min(self._retry_ns * 2, RETRY_LAST_NS)
        except (OSError, JournalError) as error:
            self._make_error = f"no segment can be made ready: {error}"
            self._make_at = now + self._retry_ns
            self._retry_ns = min(self._retry_ns * 2, RETRY_LAST_NS)

    def _watch(self, session: Session) -> bool:
        """Judges the writer, the disk and the directory. False: the session was given up."""
        if session.native.ended:
            self._end_session(f"the writer thread has ended (failure {session.ring.failure:#x})")
            return False
        if not self._storage.same_file(session.slot.fd, slot_path(self._directory, session.slot.writer)):
            self._replace_session(session)
            return False
        self._look(session)
        return True

    def _glance(self) -> None:
        """While a segment is being made, which takes a second, the writer is looked at as often as otherwise."""
        if self.session is not None and self._storage.now() - self._looked_at >= TICK_MS * 1_000_000:
            self._look(self.session)

    def _look(self, session: Session) -> None:
        self._count_failures(session)
        refuse, reasons = self._judge(session, self._storage.now())
        session.ring.set_refuse(refuse)
        if not session.ring.failure and not self._make_error:
            self._retry_ns = RETRY_FIRST_NS
        if refuse & REFUSE_STALL:
            self._owner.fail_waiting("; ".join(reasons))
        draining = not reasons and not self._recovered
        if draining:
            reasons.append(DRAINING)
        self._tell(Health(not reasons, "; ".join(reasons), opening=draining and self._opening))

    def _judge(self, session: Session, now: int) -> tuple[int, list[str]]:
        """Reasons to take nothing, as bits and as words."""
        ring, refuse, reasons = session.ring, 0, []
        self._failing_since = (self._failing_since or now) if ring.failure else 0
        if self._failing_since and now - self._failing_since > FAILURE_GRACE_NS:
            refuse |= REFUSE_FAILURE
            reasons.append(f"the disk fails: {describe_failure(ring.failure)}")
        if self._make_error and session.native.blocked:
            refuse |= REFUSE_FAILURE
            reasons.append(self._make_error)
        durable = ring.durable
        if durable != self._durable_seen or ring.head_sequence == durable:
            self._durable_seen, self._still_ns = durable, 0
        else:
            self._still_ns += min(now - self._looked_at, LOOK_NS_MAX)
        self._looked_at = now
        if self._still_ns > int(self._settings.stall_ms * 1e6):
            refuse |= REFUSE_STALL
            reasons.append(f"the writer has not moved for {self._still_ns / 1e9:.1f} s")
        free = self._storage.free_bytes(self._directory)
        needed = self._settings.reserve_bytes + 2 * self._settings.segment_bytes
        if free < needed:
            refuse |= REFUSE_SPACE
            reasons.append(f"{free >> 20} MiB free on the disk, {needed >> 20} MiB needed")
        return refuse, reasons

    def _count_failures(self, session: Session) -> None:
        """One line in the log for each segment that was given up."""
        failures = session.ring.counters()[0]["failures"]
        if failures > self._failures_seen:
            reason = describe_failure(session.ring.failure) if session.ring.failure else "mended since"
            extra = {"count": failures, "reason": reason, "writer": session.slot.writer}
            log.error(
                "a log segment was given up after a failed write; its records go to another", extra=extra
            )
        self._failures_seen = failures

    def _tell(self, health: Health) -> None:
        """Publishes what was found, and logs it when it is another answer: that none are taken at most once a
        minute, since a disk at its bound takes some and again none."""
        if health.ok != self._told_ok and health.reason != DRAINING and (health.ok or self._may_tell(health)):
            self._told_ok = health.ok
            if health.ok:
                log.info("the journal takes events")
            else:
                log.error("the journal takes no events", extra={"reason": health.reason})
        self.health = health

    def _may_tell(self, health: Health) -> bool:
        return health.fatal or self._sparing.due("no events") > 0

    def _end_session(self, reason: str) -> None:
        self._tell(Health(False, reason, fatal=True))
        if self.session is not None:
            self.session.ring.set_refuse(REFUSE_STALL)
            self._owner.fail_waiting(reason)

    def _replace_session(self, session: Session) -> None:
        """The directory is gone. What the ring still holds is carried over to the next one."""
        reason = f"the journal's directory {self._directory} is gone; waiting for {self._directory.parent}"
        self._opening = False
        self._tell(Health(False, reason))
        session.ring.set_refuse(REFUSE_DIRECTORY)
        self.detached.clear()
        self._owner.detach(reason)
        stop_writer(session, DETACH_TIMEOUT_NS)
        data = self._storage.pread(session.ring_fd, session.ring.capacity, DATA_OFFSET)
        freed = session.ring.freed_sequence
        found = journal_format.scan_ring(data, session.ring.salt)
        for sequence in sorted(found):
            if sequence > freed:
                record = journal_format.read_record(data, found[sequence][0], session.ring.salt)
                assert record is not None
                self._carried.append((record[0], record[3], data[record[4] : record[4] + record[5]]))
        session.abandon()
        self.session = None
        self._open_at = 0

    def _adopt(self, session: Session) -> None:
        adopt_all(self._storage, self._directory, self._settings, but=session.slot.writer)
        self._recovered = True


def stop_writer(session: Session, timeout_ns: int) -> None:
    """Ends the writer thread now; one that a system call holds is left behind."""
    native, deadline = session.native, session.storage.now() + timeout_ns
    native.stop_now()
    poller = select.poll()
    poller.register(native.durable_fd, select.POLLIN)
    while not native.ended and session.storage.now() < deadline:
        poller.poll(10)
    if native.ended:
        native.join()
    else:
        native.leave_running()


def describe_failure(failure: int) -> str:
    """A ring's failure word in words."""
    if failure >= 0x10000:
        return "the ring's memory does not verify"
    return os.strerror(failure)
