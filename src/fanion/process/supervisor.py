"""Granian as we run it: the settings of `server.*`, one supervisor, workers that don't outlive it.

The supervisor forks the workers and does nothing else: no store is open in it and no thread of ours runs, so a
fork copies no lock. It restarts a worker that ends by itself after `respawn_interval_s`; one that never got
ready is tried again ever more slowly, and if no worker of the server has ever been ready the server gives up
with that worker's reason. (Granian's own loop exits when a worker dies twice within 5.5 s.)

Every worker listens on a socket of its own with SO_REUSEPORT, bound by the supervisor right before the fork and
closed there right after it, so that what a dead worker had not accepted is not left waiting. Its TCP_USER_TIMEOUT,
which connections inherit, resets one whose peer has not taken a byte of an answer for `server.write_timeout_s` (a
peer that takes one byte now and then keeps its answer).

A worker that no longer turns its event loop keeps its share of the connections. So the supervisor looks once a
second at every heartbeat, and kills a process whose beat stood still for `server.heartbeat_timeout_s`: counted in
looks, not in time, since a machine or a container may have stood still as a whole. Processes beside the workers
(`process.aside`) are started after them, watched like them, and end last, in the reverse order.

A worker asks for SIGTERM at its parent's death; `end_with_parent` covers the moment before it asked.

Signal handlers take no lock, since a second signal may come while one runs: they set a flag, write a byte to a
pipe, and arm the kernel's alarm, which ends a supervisor that doesn't get through its stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import multiprocessing
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from granian import loops
from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from fanion.config import Server
from fanion.errors import ServeError
from fanion.process.aside import RESPAWN_DELAY_MAX_S, STEADY_S, Aside, Beside, end_with_parent
from fanion.process.machine import cores_to_run_on
from fanion.process.runtimes import runtimes_of
from fanion.process.sockets import bound_socket
from fanion.telemetry.heartbeats import Heartbeat, Heartbeats, Standing
from fanion.telemetry.logs import logging_config

log = logging.getLogger("fanion.server")

READY_TIMEOUT_S = 60.0
"""For the first worker to become ready; opening a store and draining old rings takes well under a second each."""
LOOP_INTERVAL_S = 0.2
LOOK_INTERVAL_S = 1.0
ERROR_BYTES_MAX = 600
"""Of a worker's reason. Written as JSON it can grow sixfold, and has to stay below PIPE_BUF (4,096)."""


OWN_LOOP = "fanion"
"""Under which the HTTP server finds an event loop that isn't its own."""

STOP_WATCHDOG_S = 5
"""After the workers' own time to stop has passed, how long the supervisor may take for the rest."""


class Wake(threading.Event):
    """What the supervisor waits for, in the place of Granian's own event, whose lock a second signal would
    wait for inside the handler of the first, for ever. Any thread and any signal handler may `set` it."""

    def __init__(self) -> None:
        super().__init__()
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)

    def fileno(self) -> int:
        return self._reader

    def set(self) -> None:
        with contextlib.suppress(OSError):  # full: it is set; closed: nobody waits
            os.write(self._writer, b"!")

    def clear(self) -> None:
        with contextlib.suppress(OSError):
            os.read(self._reader, 65_536)

    def wait(self, timeout: float | None = None) -> bool:
        return bool(select.select([self._reader], [], [], timeout)[0])


class Notice(msgspec.Struct, omit_defaults=True):
    """What a worker tells its supervisor, one JSON line each: it is ready, or why it can't be."""

    pid: int
    error: str = ""


class Place(NamedTuple):
    """What a worker is given at its fork."""

    notify: Callable[[Notice], None]
    """Tells the supervisor."""
    listen: Callable[[], None]
    """Lets connections in; called once the worker can answer them."""
    row: Heartbeat
    port: int
    """The API's."""
    successor: bool
    """It takes the place of a worker that ended."""
    workers: Sequence[Heartbeat] = ()
    """The rows of all workers."""


class Watched:
    """How often in a row a process's beat stood still."""

    def __init__(self) -> None:
        self.beat_ns = 0
        self.looks = 0

    def look(self, beat_ns: int) -> int:
        self.looks = self.looks + 1 if beat_ns and beat_ns == self.beat_ns else 0
        self.beat_ns = beat_ns
        return self.looks


class Supervisor(MPServer):
    """Serves until SIGTERM or SIGINT. `make_application` runs in each worker, after the fork. `heartbeats`: a row
    for each worker, then for each of `beside`."""

    def __init__(
        self,
        settings: Server,
        *,
        host: str,
        port: int,
        workers: int,
        log_level: str,
        make_application: Callable[[Place], Any],
        on_ready: Callable[[], None],
        heartbeats: Heartbeats,
        beside: Sequence[Beside] = (),
        make_loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        # A worker inherits the data directory's lock and the notice pipe; only fork passes them on.
        multiprocessing.set_start_method("fork", force=True)
        runtimes = runtimes_of(settings, workers, cores_to_run_on())
        loop: Any = Loops.uvloop
        if make_loop is not None:
            loop = OWN_LOOP
            loops.register(OWN_LOOP)(make_loop)
        super().__init__(
            target="fanion",
            address=host,
            port=port,
            interface=Interfaces(settings.interface),
            workers=workers,
            loop=loop,
            http=HTTPModes.http1,
            websockets=False,
            backlog=settings.backlog,
            runtime_mode=RuntimeModes(runtimes.mode),
            runtime_threads=settings.runtime_threads or 1,  # it warns of more than there are cores
            backpressure=runtimes.connections,
            http1_settings=HTTP1Settings(
                # One timer for heads and idle connections; slow heads are ended by the worker (`process.heads`).
                header_read_timeout=int(max(settings.idle_timeout_s, settings.header_timeout_s) * 1000),
                max_buffer_size=settings.header_buffer_bytes,
            ),
            log_level=LogLevels(log_level),
            log_dictconfig=logging_config(log_level),
            respawn_failed_workers=True,
            respawn_interval=settings.respawn_interval_s,
            workers_kill_timeout=math.ceil(settings.stop_timeout_s),
        )
        self.main_loop_interrupt: Wake = Wake()
        self.failure = ""
        self._settings = settings
        self._threads = runtimes.threads
        self._on_ready = on_ready
        self._make_application = make_application
        self._ready_pids: set[int] = set()
        self._was_ready = False
        self._respawning = False
        self._failed_starts: dict[int, int] = {}
        self._respawn_at: dict[int, float] = {}
        self._started_at: dict[int, float] = {}
        self._reasons: dict[int, str] = {}
        self._rows = heartbeats.rows
        self._watched = [Watched() for _ in self._rows]
        self._look_at = 0.0
        self._aside = [
            Aside(each, row, settings.respawn_interval_s)
            for each, row in zip(beside, self._rows[workers:], strict=False)
        ]
        self._stopped_by = 0.0
        self._starting = 0
        self._socket: socket.socket
        self._shd: Any
        self._notices, self._notice_writer = os.pipe()
        os.set_blocking(self._notices, False)
        self._rest = b""

    def signal_handler_interrupt(self, *args: Any, **kwargs: Any) -> None:
        """SIGTERM, SIGINT, however many. Without a handler for it, the alarm ends the process, whatever that waits
        for; workers end with their parent."""
        if not self.interrupt_signal:
            signal.alarm(math.ceil(self._settings.stop_timeout_s) + STOP_WATCHDOG_S)
        self.interrupt_signal = True
        self.main_loop_interrupt.set()

    def run(self) -> None:
        """Blocks until the server has stopped. Raises ServeError when it never got ready."""
        supervisor_pid = os.getpid()
        writer = self._notice_writer

        def notify(notice: Notice) -> None:
            # Shorter than PIPE_BUF, so lines of several workers don't mix. The reader may be gone.
            error = notice.error.encode()[:ERROR_BYTES_MAX].decode(errors="ignore")
            line = msgspec.json.encode(Notice(notice.pid, error)) + b"\n"
            with contextlib.suppress(OSError):
                os.write(writer, line)

        def load() -> Any:
            end_with_parent(signal.SIGTERM, supervisor_pid)
            listening, backlog = self._socket, self._settings.backlog
            row, rows = self._rows[self._starting], self._rows[: self.workers]
            return self._make_application(
                Place(notify, lambda: listening.listen(backlog), row, self.bind_port, self._respawning, rows)
            )

        try:
            # Granian exits with 1 when a worker ended by itself a moment before the stop; that is no failure here.
            with contextlib.suppress(SystemExit):
                self.serve(target_loader=load, wrap_loader=False)
        finally:
            for aside in reversed(self._aside):
                aside.kill(self._stopped_by)
            os.close(self._notices)
            os.close(self._notice_writer)
            signal.alarm(0)
        if self.failure:
            raise ServeError(self.failure)

    def _init_shared_socket(self) -> None:
        """Granian's would listen before any worker is ready."""
        self._sso = None

    def _spawn_workers(self, spawn_target: Any, target_loader: Any) -> None:
        self.runtime_threads = self._threads
        self.wrks.extend(
            self._start_worker(number, spawn_target, target_loader) for number in range(self.workers)
        )
        for aside in self._aside:
            aside.keep()

    def _start_worker(self, number: int, spawn_target: Any, target_loader: Any) -> Any:
        """Forks a worker, which inherits the socket that is made here. Raises OSError."""
        settings = self._settings
        self._starting = number
        self._started_at[number] = time.monotonic()
        reason = self._reasons.pop(number, "")
        self._rows[number].clear(
            Standing(reasons=(f"starting; the one before: {reason}" if reason else "starting",))
        )
        with bound_socket(self.bind_addr, self.bind_port, settings.write_timeout_s) as self._socket:
            holder: Any = SocketHolder  # its stub has no arguments
            self._shd = holder(self._socket.fileno(), False, settings.backlog)
            worker = self._spawn_worker(idx=number, target=spawn_target, callback_loader=target_loader)
            worker.start()  # type: ignore[no-untyped-call]
        return worker

    def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
        give_up_at = time.monotonic() + READY_TIMEOUT_S
        while not self.interrupt_signal:
            self._wait()
            self._read_notices()
            if self.failure:
                return
            if not self._was_ready and self._ready_pids and self._answers():
                self._was_ready = True
                self._on_ready()
            if not self._was_ready and time.monotonic() > give_up_at:
                self.failure = f"no worker got ready within {READY_TIMEOUT_S:.0f} s"
                return
            self._collect_deaths()
            self._respawn(spawn_target, target_loader)
            self._look()
            for aside in self._aside:
                aside.keep()

    def _stop_workers(self) -> None:
        self._stopped_by = time.monotonic() + self._settings.stop_timeout_s
        for aside in self._aside:
            aside.ask()
        super()._stop_workers()  # type: ignore[no-untyped-call]

    def _wait(self) -> None:
        """Until a signal, a process's end or a notice, or a short while."""
        sentinels = [aside.sentinel for aside in self._aside if aside.sentinel is not None]
        busy = self._respawn_at or len(sentinels) < len(self._aside)
        timeout_s = (LOOP_INTERVAL_S if busy else LOOK_INTERVAL_S) if self._was_ready else 0.01
        select.select([self._notices, self.main_loop_interrupt.fileno(), *sentinels], [], [], timeout_s)
        self.main_loop_interrupt.clear()

    def _look(self) -> None:
        """At every heartbeat, once a second; kills what has stood still for too long."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_INTERVAL_S
        still_s = self._settings.heartbeat_timeout_s
        watching = [
            (self.wrks[number].inner.pid, f"worker {number}", still_s) for number in range(self.workers)
        ]
        watching += [(aside.pid, aside.name, aside.still_s or still_s) for aside in self._aside]
        for row, watched, (pid, name, allowed_s) in zip(self._rows, self._watched, watching, strict=False):
            looks = watched.look(row.beat_ns)
            if looks * LOOK_INTERVAL_S < allowed_s or pid is None:
                continue
            log.error("a process stands still and is killed", extra={"worker": name, "seconds": looks})
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _read_notices(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._rest += os.read(self._notices, 65_536)
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            notice = msgspec.json.decode(line, type=Notice)
            if not notice.error:
                self._ready_pids.add(notice.pid)
            else:
                self._reasons.update(
                    (number, notice.error)
                    for number, worker in enumerate(self.wrks)
                    if worker.inner.pid == notice.pid
                )
                if not self._was_ready:
                    self.failure = notice.error

    def _answers(self) -> bool:
        """Whether the port answers: ready workers listen a moment after they said so."""
        try:
            with socket.create_connection((_reachable(self.bind_addr), self.bind_port), timeout=1) as probe:
                probe.sendall(b"GET /healthz HTTP/1.1\r\nHost: fanion\r\nConnection: close\r\n\r\n")
                return probe.recv(64).startswith(b"HTTP/1.1 ")
        except OSError:
            return False

    def _collect_deaths(self) -> None:
        """Workers that ended by themselves: when each is to be started again."""
        self._read_notices()
        while self.interrupt_children:
            number = self.interrupt_children.pop()
            worker = self.wrks[number].inner
            pid = worker.pid
            # Killed says nothing about how a start goes; neither does an end after a while of service.
            steady = time.monotonic() - self._started_at[number] > STEADY_S
            in_order = (pid in self._ready_pids and steady) or worker.exitcode == -signal.SIGKILL
            failed = 0 if in_order else self._failed_starts.get(number, 0) + 1
            self._failed_starts[number] = failed
            self._ready_pids.discard(pid)
            delay_s = min(self._settings.respawn_interval_s * 2**failed, RESPAWN_DELAY_MAX_S)
            self._respawn_at[number] = time.monotonic() + delay_s
            reason = self._reasons.setdefault(number, f"it ended with status {worker.exitcode}")
            self._rows[number].clear(Standing(reasons=(reason,)))

    def _respawn(self, spawn_target: Any, target_loader: Any) -> None:
        now = time.monotonic()
        for number, due in list(self._respawn_at.items()):
            if due > now:
                continue
            self._respawning = True  # the worker sees it, forked from here
            try:
                self.wrks[number] = self._start_worker(number, spawn_target, target_loader)
            except OSError as error:
                log.error("a worker can't be started", extra={"reason": str(error)})
                self._respawn_at[number] = now + RESPAWN_DELAY_MAX_S
                continue
            del self._respawn_at[number]


def _reachable(host: str) -> str:
    """Where a server that listens on `host` is found from this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
