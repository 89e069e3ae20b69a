"""One worker process: an application that builds and takes down everything else. Long: its parts, in one order.

Start: counters -> store -> reloader -> limiter -> windows -> journal -> application, with clock, pulse and body
watch beside; closed in the reverse order, once no request is left. All of it is opened here, after the fork, and
belongs to this process and its event loop.

SIGTERM: the HTTP server stops accepting, event streams are ended, bodies that haven't arrived are waited for
`BODY_GRACE_S` and no longer, what is in flight is answered, the journal is drained. Half way through
`server.stop_timeout_s` whatever is still open is cut, so that the journal always gets its turn before the
supervisor's kill.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fanion.auth.active_users import ActiveUsers
from fanion.auth.key_use import KeyUse
from fanion.auth.limiter import Limiter
from fanion.clock.keeper import GuardedClock
from fanion.config import Config
from fanion.dialects.wire.dialect import Dialect
from fanion.dialects.wire.services import Services
from fanion.engine.evaluator import open_environment
from fanion.errors import FanionError, JournalError, StoreError
from fanion.http import entrance, rsgi
from fanion.http.request import BodyWatch
from fanion.http.streams import Streams
from fanion.http.traced import make_traced
from fanion.journal.replicas import Board
from fanion.journal.replicated import ReplicatedJournal, ReplicatedWindow
from fanion.journal.retention import room_bytes
from fanion.journal.settings import JournalSettings
from fanion.journal.storage import Storage
from fanion.journal.window import IDS, REPLAYS, EventWindow
from fanion.journal.writer import JournalWriter
from fanion.model.collector import freeze
from fanion.process.contact import Contact
from fanion.process.directory import DirectoryLock
from fanion.process.exposures import Exposures
from fanion.process.heads import HeadWatch
from fanion.process.healing import Healer
from fanion.process.lane import Lane, LaneLoop, hand_over
from fanion.process.overrides import Settling
from fanion.process.pulse import Pulse
from fanion.process.results import Results
from fanion.process.staleness import Staleness
from fanion.process.supervisor import Notice, Place
from fanion.process.turns import LOOK_S, Turn
from fanion.store.recovery import begin_healing, lies_whole, open_verified
from fanion.store.reload import Reloader
from fanion.store.store import Store
from fanion.telemetry.exposures import ExposureNumbers
from fanion.telemetry.journal import JournalNumbers
from fanion.telemetry.metrics import STORE_FAULTS, STREAMS, Metrics
from fanion.telemetry.prepared import PreparedNumbers
from fanion.telemetry.replicated import ReplicatedNumbers
from fanion.telemetry.spans import Spans
from fanion.telemetry.windows import WindowNumbers

log = logging.getLogger("fanion.worker")

Part = TypeVar("Part")

BODY_GRACE_S = 1.0
"""At SIGTERM, how long a body that is on its way is waited for."""


LAST_TURNS = 5
"""Turns of the event loop after the journal's last sync, so that whoever it resolved still sends its answer."""

PREPARE_RETRY_S = 1.0

LEAVE_S = 0.5, 3.0
"""From finding out to leaving, drawn for each worker, whose turn it has to be."""


class View:
    """One environment of one generation, as requests use it: what each dialect keeps at hand of its bundle."""

    __slots__ = ("bound",)

    def __init__(self, bound: dict[str, Any]) -> None:
        self.bound = bound


def journal_settings(config: Config) -> JournalSettings:
    """The journal's own settings under the server's."""
    return JournalSettings.taken_from(config.journal).check()


async def prepare(window: EventWindow, journal: JournalWriter) -> None:
    """Makes a window ready, however long the journal takes to be read; batches with ids are refused until then."""
    while True:
        try:
            await window.prepare(journal)
            return
        except JournalError as error:
            log.error("the event-id window is not ready", extra={"reason": str(error)})
            await asyncio.sleep(PREPARE_RETRY_S)


def cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


def close_lane(lane: Lane) -> None:
    lane.open = False


def reasons_not_ready(services: Services, reloader: Reloader[View], journal: JournalWriter) -> list[str]:
    """Why this worker should get no requests, one line each."""
    reasons = []
    if services.draining:
        reasons.append("stopping")
    if reloader.problem:
        reasons.append(f"store: {reloader.problem}")
    reasons += [f"store: {text}" for text in reloader.refused.values()]
    state = journal.state()
    if not state.ok:
        reasons.append(f"journal: {state.reason}")
    if not (services.event_ids.ready and services.replays.ready):
        reasons.append("journal: event ids are being read from it")
    return reasons


class Worker:
    """`application` is what the HTTP server calls."""

    def __init__(
        self,
        data: Path,
        config: Config,
        dialects: Sequence[Dialect],
        place: Place,
        lock: DirectoryLock | None = None,
        board: Board | None = None,
    ) -> None:
        """`lock`: the server's, on its data directory. `board`: what the stream has, where answers wait for it."""
        self._data = data
        self._dialects = dialects
        self._config = config
        self._place = place
        self._lock = lock
        self._board = board
        self._pulse: Pulse
        self._healer: Healer
        self._handle: Callable[..., Awaitable[None]] = self._lifespan
        self._plain: Callable[..., Awaitable[None]] = self._lifespan
        self._closers: list[Callable[[], None]] = []
        self._reloader: Reloader[View]
        self._metrics: Metrics
        self._clock: GuardedClock
        self._key_use: KeyUse
        self._settling: Settling
        self._exposures: Exposures
        self._staleness: Staleness | None = None
        self._saving: asyncio.Future[None] | None = None
        self._looking: asyncio.Future[bool] | None = None
        self._leaving = False
        self._timer: asyncio.TimerHandle | None = None

    def application(self) -> Callable[..., Awaitable[None]]:
        """As `server.interface` says."""

        def by_asgi(scope: Any, receive: Any, send: Any) -> Awaitable[None]:
            return self._handle(scope, receive, send)

        def by_rsgi(scope: Any, proto: Any) -> Awaitable[None]:
            return self._handle(scope, proto)

        if self._config.server.interface == "asgi":
            return by_asgi
        made: Any = by_rsgi  # the server looks for what begins and ends it among its attributes
        made.__rsgi_init__, made.__rsgi_del__ = self._begin_rsgi, self._end_rsgi
        return by_rsgi

    async def _lifespan(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI's own way to begin and to end."""
        await receive()
        if reason := await self._begin():
            await send({"type": "lifespan.startup.failed", "message": reason})
            return
        await send({"type": "lifespan.startup.complete"})
        self._place.notify(Notice(os.getpid()))
        await receive()
        await self._end()
        await send({"type": "lifespan.shutdown.complete"})

    def _begin_rsgi(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop.run_until_complete(self._begin()):
            sys.exit(1)
        self._place.notify(Notice(os.getpid()))

    def _end_rsgi(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.run_until_complete(self._end())

    async def _begin(self) -> str:
        """Why it can't serve, which the supervisor was told; or nothing."""
        try:
            await self._start()
            self._place.listen()
        except Exception as error:
            # Whatever it is: Granian would go on without a lifespan, with a worker that can answer nothing.
            if not isinstance(error, (FanionError, OSError)):
                log.exception("a worker did not start")
            self._stop()
            reason = str(error) or type(error).__name__
            self._place.notify(Notice(os.getpid(), reason))
            return reason
        return ""

    async def _end(self) -> None:
        self._stop()
        for _ in range(LAST_TURNS):
            await asyncio.sleep(0)

    async def _start(self) -> None:
        config, loop = self._config, asyncio.get_running_loop()
        # What was put there with the store may be derived from another journal than lies there now.
        replaced = self._lock is not None and self._lock.follow()
        metrics = self._metrics = self._keep(Metrics.open(self._data))
        store = self._keep(self._open_store())
        settings = journal_settings(config)
        clock = GuardedClock.open(self._data, settings.clock_trust_s, store.published_at())
        self._clock = self._keep(clock)
        exposures = self._exposures = self._keep(Exposures.open(self._data, config.exposures.marks))
        reloader: Reloader[View] = self._keep(
            Reloader(
                store,
                store.word,
                self._make_view,
                now=clock.expiry,
                report=self._report_store,
                key_cache_entries=config.store.key_cache_entries,
            )
        )
        self._reloader = reloader
        if config.places.follow:
            contact, rsgi_spoken = self._keep(Contact(self._data)), config.server.interface == "rsgi"
            self._staleness = Staleness(config.places, contact.stale_s, reloader.lapse, rsgi_spoken)
            self._staleness.look()
        self._key_use = self._keep(KeyUse(self._data, reloader.take_used, reloader.forget_keys))
        limiter = self._keep(Limiter.open(self._data, config.limiter.slots, config.limiter.machines))
        event_ids, replays = (
            self._keep(EventWindow.open(self._data, size, name=name, settings=settings, replace=replaced))
            for name, size in ((IDS, config.journal.event_ids), (REPLAYS, config.journal.used_traces))
        )
        journal = self._keep(JournalWriter.open(self._data, settings, loop))
        for window in (event_ids, replays):
            self._keep(loop.create_task(prepare(window, journal)), cancel)
        journal_numbers = JournalNumbers(metrics)
        room = partial(room_bytes, Storage(), self._data / "journal", settings)
        metrics.add_collector(lambda: journal_numbers.update(journal.metrics(), room()))
        exposures.record_into(journal)
        exposure_numbers = ExposureNumbers(metrics)
        metrics.add_collector(lambda: exposure_numbers.update(exposures.counts()))
        metrics.add_collector(PreparedNumbers(metrics).update)
        ids_numbers, replays_numbers = WindowNumbers(metrics, IDS), WindowNumbers(metrics, REPLAYS)
        metrics.add_collector(lambda: ids_numbers.update(event_ids.metrics(), event_ids.lane_claims()))
        metrics.add_collector(lambda: replays_numbers.update(replays.metrics(), replays.lane_claims()))
        users = self._keep(ActiveUsers.open(self._data, now=clock.month))
        services = Services(config, reloader, journal, limiter, metrics, event_ids, replays, users)
        replicated = self._replicate(services, journal, event_ids, loop)
        services.token_ns = clock.expiry_ns
        services.results = self._keep(Results(self._data, config))
        lane = loop.lane if isinstance(loop, LaneLoop) else None
        late = None if lane is None else partial(hand_over, lane)
        watch = self._keep(BodyWatch(loop, config.limits, late), BodyWatch.stop)
        watch.start()
        heads = HeadWatch(loop, self._place.port, config.server.header_timeout_s)
        self._keep(heads, HeadWatch.stop).start()
        self._pulse = self._keep(
            Pulse(
                self._place.row,
                lambda: [*reasons_not_ready(services, reloader, journal), *self._stale_reasons()],
                lambda: [*([clock.note] if clock.note else []), *(replicated.notes() if replicated else [])],
                lambda: reloader.serving.number,
                lambda: self._leaving or services.draining,
            ),
            Pulse.stop,
        )
        self._pulse.start(loop)
        map_bytes = config.store.map_bytes
        self._settling = self._keep(
            Settling(
                self._data,
                map_bytes,
                lambda: reloader.serving.number,
                lambda: reloader.serving.overrides().next_end(),
                lambda: clock.belief.cautious,
            )
        )
        self._healer = self._keep(Healer(reloader, lambda: begin_healing(self._data, map_bytes)))
        streams = self._keep(Streams(services, loop), Streams.stop)
        streams.start()
        metrics.add_collector(lambda: metrics.set(STREAMS, len(streams)))
        loop.add_signal_handler(signal.SIGTERM, self._terminate, loop, services, watch, streams)
        self._tick(loop, reloader, journal, os.getppid())
        self._handle = self._plain = self._open_entrance(services, watch, streams, lane)
        if self._staleness is not None:
            self._handle = self._staleness.handler(self._plain)
        freeze()  # what exists now stays; the collector needn't walk it under load

    def _replicate(
        self,
        services: Services,
        journal: JournalWriter,
        event_ids: EventWindow,
        loop: asyncio.AbstractEventLoop,
    ) -> ReplicatedJournal | None:
        """Where answers wait for the stream, puts what waits for it in the places of the journal and its window."""
        if self._board is None:
            return None
        bell = self._board.bells[self._place.workers.index(self._place.row)]
        replicated = self._keep(ReplicatedJournal(journal, self._board, bell, loop))
        services.journal = replicated
        services.event_ids = ReplicatedWindow(event_ids, replicated.confirm)
        numbers = ReplicatedNumbers(self._metrics)
        self._metrics.add_collector(
            lambda: numbers.update(
                replicated.times_us, replicated.sum_us, replicated.refused, replicated.waiting
            )
        )
        return replicated

    def _open_entrance(
        self, services: Services, watch: BodyWatch, streams: Streams, lane: Lane | None
    ) -> Callable[..., Awaitable[None]]:
        """What requests are answered by, as `server.interface` and `tracing.url` say."""
        by_rsgi = self._config.server.interface == "rsgi"
        if not self._config.tracing.url:
            if not by_rsgi:
                return entrance.by_asgi(services, self._dialects, watch, streams)
            if lane is not None:
                lane.open = True
                self._keep(lane, close_lane)
            return entrance.by_rsgi(services, self._dialects, watch, streams, lane)
        spans = self._keep(Spans(self._config.tracing.url))
        if not by_rsgi:
            return make_traced(spans, services, self._dialects, watch, streams)
        handle = make_traced(
            spans,
            services,
            self._dialects,
            watch,
            streams,
            outgoing=rsgi.Held(services.config.limits.answers_bytes_max),
            headers_of=rsgi.headers_of,
            first_piece=rsgi.first_piece,
            at_once=rsgi.at_once,
        )
        return rsgi.make_application(handle)

    def _open_store(self) -> Store:
        map_bytes = self._config.store.map_bytes
        if not self._place.successor:
            return Store.open(self._data, map_bytes=map_bytes)
        store, problem = open_verified(self._data, map_bytes=map_bytes)
        if problem is not None:
            self._report_store("", f"damaged, serving its copy: {problem}")
        return store

    def _keep(self, part: Part, close: Callable[[Part], None] | None = None) -> Part:
        """Remembers to close a part; parts are closed in the reverse order."""
        closing: Any = close or type(part).close  # type: ignore[attr-defined]  # every part of ours has one
        self._closers.append(lambda: closing(part))
        return part

    def _make_view(self, environment: str, buffer: memoryview, unit_key: Callable[[], bytes | None]) -> View:
        """Everything that requests use of one environment. Raises BundleError."""

        def is_member(list_name: str, member: str) -> bool:
            return self._reloader.serving.member(environment, list_name, member.encode())

        self._pulse.beat()  # a reload of many environments is no standstill
        bundle = open_environment(environment, buffer, is_member)
        self._exposures.attach(bundle, self._dialects, unit_key)
        self._exposures.answers_from(self._reloader.serving.number)
        return View({dialect.name: dialect.bind(bundle) for dialect in self._dialects})

    def _report_store(self, environment: str, problem: str) -> None:
        self._metrics.add(STORE_FAULTS)
        if environment:
            self._healer.refused()
            self._pulse.say_soon()  # readyz tells it no later than the environment's 503
        log.error("the store has a fault", extra={"environment": environment, "reason": problem})

    def _tick(
        self,
        loop: asyncio.AbstractEventLoop,
        reloader: Reloader[View],
        journal: JournalWriter,
        parent: int,
    ) -> None:
        self._timer = loop.call_later(self._config.store.tick_s, self._tick, loop, reloader, journal, parent)
        reloader.tick()
        self._healer.look()
        self._settle()
        if self._staleness is not None:
            self._staleness.look()
            self._handle = self._staleness.handler(self._plain)
        if reloader.replaced:
            self._make_room(loop, reloader.replaced)
        if self._clock.tick() and (self._saving is None or self._saving.done()):
            self._saving = loop.run_in_executor(None, self._clock.save)  # it waits for the disk
        if (used := self._key_use.due()) is not None:
            loop.run_in_executor(None, self._key_use.save, *used)
        confirmed_ago_s = time.monotonic() - reloader.serving.confirmed_at
        self._metrics.served(reloader.serving.number, time.time() - confirmed_ago_s)
        self._exposures.answers_from(reloader.serving.number)
        self._metrics.collect()
        if os.getppid() != parent:
            signal.raise_signal(signal.SIGTERM)  # the supervisor is gone, and its death signal went astray
        state = journal.state()
        if state.fatal:
            log.error("the journal needs a new process", extra={"reason": state.reason})
            signal.raise_signal(signal.SIGTERM)  # the supervisor starts another worker

    def _stale_reasons(self) -> list[str]:
        return [] if self._staleness is None else self._staleness.reasons

    def _settle(self) -> None:
        try:
            self._settling.look()
        except (StoreError, OSError) as error:
            self._report_store("", str(error))

    def _make_room(self, loop: asyncio.AbstractEventLoop, reason: str) -> None:
        """Another store lies in the place of the one that is served: a worker that opens it takes over, once it can
        be read whole. Workers leave in turn."""
        if self._leaving:
            return
        if self._looking is None:
            self._looking = loop.run_in_executor(None, lies_whole, self._data)
        elif self._looking.done():
            whole, self._looking = self._looking.result(), None
            if whole:
                log.error("another store needs a new process", extra={"reason": reason})
                self._leaving = True
                self._pulse.say()
                turn = Turn(self._place.workers, self._place.row)
                loop.call_later(random.uniform(*LEAVE_S), self._leave, loop, turn)

    def _leave(self, loop: asyncio.AbstractEventLoop, turn: Turn) -> None:
        if turn.has_come():
            signal.raise_signal(signal.SIGTERM)
        else:
            loop.call_later(LOOK_S, self._leave, loop, turn)

    def _terminate(
        self, loop: asyncio.AbstractEventLoop, services: Services, watch: BodyWatch, streams: Streams
    ) -> None:
        """SIGTERM. Granian hears the SIGINT: it stops accepting and waits for the requests in flight."""
        if services.draining:
            return
        services.draining = True
        self._pulse.say()
        streams.end_all()
        timeout_s = self._config.server.stop_timeout_s
        loop.call_later(min(BODY_GRACE_S, timeout_s / 4), watch.expire_all)
        loop.call_later(timeout_s / 2, self._end_now)
        signal.raise_signal(signal.SIGINT)

    def _end_now(self) -> None:
        """Connections are still open. What was acknowledged is made safe, then the process ends."""
        log.warning("connections still open at the end of the stop time-out are cut")
        self._stop()
        os._exit(0)

    def _stop(self) -> None:
        """Closes what was opened, last first. Runs once."""
        if self._timer is not None:
            self._timer.cancel()
        while self._closers:
            close = self._closers.pop()
            try:
                close()
            except Exception as error:
                log.error("a part did not close", extra={"reason": str(error)})
