"""Slow heads: connections whose next request doesn't come to its head's end within `server.header_timeout_s`.

The HTTP server has one timer for a head and for an idle connection, set to `server.idle_timeout_s`. So the worker
looks at its connections itself, five times within a head's time or each second, and ends those that were owed
something all that time and were sent nothing (`fanion._core.connections`), unless a request of theirs is being
served: what that may take is bounded elsewhere. Nothing of it is on a request's path: who is being served is asked
of the event loop's tasks, only once there is a connection to end, and of `PIECE` tasks at a time, since event
streams may be thousands of them. Those that came meanwhile are asked last, at once with the end.

An event loop that was busy says nothing about its peers: after a look that came late the counting begins anew.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import os
import socket
from contextlib import suppress
from typing import Any

from fanion._core.connections import Connections
from fanion.process.lane import LaneLoop

log = logging.getLogger("fanion.worker")

LOOKS = 5
INTERVAL_S_MAX = 1.0
LATE = 0.5
"""Of an interval."""
PIECE = 500
"""Tasks that are asked between two turns of the event loop: a millisecond."""
ROUNDS_MAX = 8
"""In which tasks that came meanwhile are asked in pieces; then the rest at once."""
CALLS_MAX = 8
"""Coroutines between the server's task and the application's."""


class HeadWatch:
    """Belongs to the event loop's thread; looks run beside it. `port`: of the API's sockets."""

    def __init__(self, loop: asyncio.AbstractEventLoop, port: int, timeout_s: float) -> None:
        self._loop = loop
        self._connections = Connections(port)
        self._interval_s = min(INTERVAL_S_MAX, timeout_s / LOOKS)
        self._looks = math.ceil(timeout_s / self._interval_s)
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None
        self._stopped = False
        self.ended = 0

    def start(self) -> None:
        self._again()

    def stop(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._ending is not None:
            self._ending.cancel()

    def _again(self) -> None:
        self._due = self._loop.time() + self._interval_s
        self._timer = self._loop.call_later(self._interval_s, self._look)

    def _look(self) -> None:
        if self._loop.time() - self._due > self._interval_s * LATE:
            self._connections.forget_looks()
        looking = self._loop.run_in_executor(None, self._connections.look, self._looks)
        looking.add_done_callback(self._looked)

    def _looked(self, looking: asyncio.Future[list[tuple[int, int, int]]]) -> None:
        if looking.cancelled() or self._stopped:
            return
        if (error := looking.exception()) is not None:
            log.error("the connections can't be looked at", extra={"reason": str(error)})
        elif found := looking.result():
            self._ending = self._loop.create_task(self._end(found))
            return
        self._again()

    async def _end(self, found: list[tuple[int, int, int]]) -> None:
        try:
            served = await ports_served(self._loop)
            for (
                fd,
                cookie,
                sent,
            ) in found:  # nothing is awaited: a request that came meanwhile would not be known
                if port_of(fd) not in served:
                    self.ended += self._connections.end(fd, cookie, sent)
        finally:
            if not self._stopped:
                self._again()


def port_of(fd: int) -> int | None:
    """The port of a connection's other end; None where there is none any more."""
    with suppress(OSError):
        duplicate = os.dup(fd)
        try:
            with socket.socket(fileno=duplicate) as connection:
                duplicate = -1
                return int(connection.getpeername()[1])
        finally:
            if duplicate >= 0:  # it is another thing's by now
                os.close(duplicate)
    return None


async def ports_served(loop: asyncio.AbstractEventLoop) -> set[int | None]:
    """The ports of the other ends of all requests that the application has and has not answered yet, as of the
    last turn of the event loop; None, for a connection whose other end has gone, is among them. Two peers of one
    port are not told apart: one that is served spares the other."""
    found: set[int | None] = {None}
    asked: set[asyncio.Task[Any]] = set()
    for rounds_left in reversed(range(ROUNDS_MAX)):
        new = asyncio.all_tasks(loop) - asked
        if len(new) <= PIECE or not rounds_left:
            break
        pieces = iter(new)
        while piece := list(itertools.islice(pieces, PIECE)):
            found.update(map(port_served, piece))
            await asyncio.sleep(0)
        asked |= new
    found.update(map(port_served, new))
    if isinstance(loop, LaneLoop):  # where requests need no task
        found.update(port_at_hand(step.coroutine) for step in loop.lane.steps)
    return found


def port_served(task: asyncio.Task[Any]) -> int | None:
    """The port of the other end of the request that the task serves; None where it serves none."""
    return port_at_hand(task.get_coro())


def port_at_hand(waiting: Any) -> int | None:
    """The same of a coroutine."""
    for _ in range(CALLS_MAX):
        frame = getattr(waiting, "cr_frame", None)
        if frame is None:
            break
        # The server's own coroutine has the request at hand, and awaits the application's, which may be native.
        scope = frame.f_locals.get("scope", getattr(frame.f_locals.get("watcher"), "scope", None))
        if isinstance(scope, dict):
            with suppress(KeyError):
                return int(scope["client"][1])
        elif isinstance(client := getattr(scope, "client", None), str):  # RSGI's
            return int(client.rpartition(":")[2])
        # A task that a lane handed over goes on with a coroutine that isn't what it awaits, at first.
        waiting = frame.f_locals.get("rest", waiting.cr_await)
    return None
