"""A worker's heartbeat: a beat a second from its event loop, and what it says of its readiness.

What the asked-for reasons say is looked at with each beat, and whenever `say` is called. While a worker isn't ready
it beats more often, or a start that took 0.2 s would be told of a second later.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from fanion.telemetry.heartbeats import Heartbeat, Standing

BEAT_INTERVAL_S = 1.0
BEAT_UNREADY_S = 0.05


class Pulse:
    """Event loop only."""

    def __init__(
        self,
        row: Heartbeat,
        reasons: Callable[[], list[str]],
        notes: Callable[[], list[str]],
        generation: Callable[[], int],
        leaving: Callable[[], bool] = lambda: False,
    ) -> None:
        self._row = row
        self._reasons = reasons
        self._notes = notes
        self._generation = generation
        self._leaving = leaving
        self._said: Standing | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._soon = False

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        unready = self._said is None or self._said.reasons
        self._timer = loop.call_later(BEAT_UNREADY_S if unready else BEAT_INTERVAL_S, self.start, loop)
        self.say()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def beat(self) -> None:
        """For what holds the event loop for long and is at work."""
        self._row.beat()

    def say_soon(self) -> None:
        """For what is about to become a reason: once what the event loop does now is done."""
        if self._loop is not None and not self._soon:
            self._soon = True
            self._loop.call_soon(self.say)

    def say(self) -> None:
        self._soon = False
        self._row.beat()
        standing = Standing(
            os.getpid(), tuple(self._reasons()), tuple(self._notes()), self._generation(), self._leaving()
        )
        if standing != self._said:
            self._row.say(standing)
            self._said = standing
