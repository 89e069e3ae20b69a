"""What stands for the HTTP server before a lane: a body that comes when told to, a thread that hands over."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from fanion.process.lane import LaneLoop

WAIT_S = 60.0
"""For what a thread is about to do; nothing takes as long."""


class Body:
    """What the HTTP server's protocol gives for a body, which `come` completes from whatever thread."""

    def __init__(self, loop: LaneLoop, body: bytes = b"") -> None:
        self._asyncio_future_blocking = True
        self.loop = loop
        self.body = body
        self.over = False
        self.asked = threading.Event()
        self._callback: Callable[..., object] | None = None
        self._context: contextvars.Context | None = None

    def get_loop(self) -> LaneLoop:
        return self.loop

    def add_done_callback(
        self, callback: Callable[..., object], *, context: contextvars.Context | None = None
    ) -> None:
        self._callback, self._context = callback, context
        self.asked.set()

    def cancel(self, msg: object = None) -> bool:
        """As Granian's: whoever awaits it is woken."""
        assert self._callback is not None
        self.loop.call_soon_threadsafe(self._callback, self, context=self._context)
        return False

    def result(self) -> None:
        pass

    def come(self) -> None:
        assert self.asked.wait(WAIT_S)
        assert self._callback is not None
        self.over = True
        self.loop.call_soon_threadsafe(self._callback, self, context=self._context)

    def __await__(self) -> Generator[Body, None, bytes]:
        while not self.over:
            self._asyncio_future_blocking = True
            yield self
        return self.body


class Server:
    """A thread that hands requests to a loop, as Granian's does."""

    def __init__(self, loop: LaneLoop) -> None:
        self.loop = loop
        self.tasks: list[asyncio.Task[None]] = []
        self._context = contextvars.copy_context()

    def _run(self, coroutine: Coroutine[Any, Any, None], watcher: object) -> None:
        self.tasks.append(self.loop.create_task(coroutine))

    def ask(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.loop.call_soon_threadsafe(self._run, coroutine, None, context=self._context)

    def in_thread(self, work: Callable[[], object]) -> asyncio.Future[object]:
        return self.loop.run_in_executor(None, work)


@contextmanager
def open_lane() -> Iterator[LaneLoop]:
    """Whose lane is open. Tests run it by `run_until_complete`."""
    loop = LaneLoop()
    loop.lane.open = True
    yield loop
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
