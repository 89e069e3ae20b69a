"""An event loop whose requests need no turn of it (`fanion._core.lane` says how, and why that is safe).

It is asyncio's own, whose selector says when the loop waits: that is when the turn is given away. What a coroutine
awaits in the lane is mostly a body that is on its way. `hand_over` makes a task of one that takes long, to be
cancelled as any: `http.request.BodyWatch` asks for that.

Decision (2026-11-30). Options: tasks of uvloop, as by ASGI; steps in the HTTP server's threads with locks around
what they share with the loop; steps with one turn for all of it. Choice: the last, by RSGI; ASGI stays as it was.
Reason: two wake-ups of a thread are most of what a small request costs, and of a turn nothing of a worker's state
needs to know, where each lock would be one more rule for who writes a handler. uvloop doesn't say when it waits.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any

from fanion._core.lane import Lane, Step

__all__ = ["Lane", "LaneLoop", "hand_over"]

LOOKS_MAX = 2


class _Selector(selectors.DefaultSelector):
    lane: Lane

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found: list[tuple[selectors.SelectorKey, int]] = self.lane.wait(super().select, timeout)
        return found


class LaneLoop(asyncio.SelectorEventLoop):
    """`lane`: closed until it is opened."""

    def __init__(self) -> None:
        selector = _Selector()
        super().__init__(selector)
        loop: Any = self
        self.lane = selector.lane = Lane(self, super().call_soon_threadsafe, loop._ready)
        loop.call_soon_threadsafe = self.lane.call_soon_threadsafe

    def run_forever(self) -> None:
        self.lane.turn.take()
        try:
            super().run_forever()
        finally:
            self.lane.turn.give()

    def _check_thread(self) -> None:
        """Of asyncio's debug mode, for which none but the loop's own thread may ask it for anything."""


def hand_over(lane: Lane, waiting: dict[asyncio.Task[object], float], since: float, every: bool) -> int:
    """Those that wait for a body since before the last time that this was asked, or `every` one, are tasks from now
    on and stand in `waiting`. How many."""

    async def carried(rest: Coroutine[Any, Any, None], woken: asyncio.Future[None]) -> None:
        task = asyncio.current_task()
        assert task is not None
        waiting[task] = since
        error: BaseException | None = None
        try:
            await woken
        except asyncio.CancelledError as cancelled:
            error = cancelled
        finally:
            del waiting[task]
        await _go_on(rest, error)

    late: list[Step] = [step for step in lane.steps if step.body and (step.waited() >= LOOKS_MAX or every)]
    for step in late:
        step.hand_over(carried)
    return len(late)


@coroutine
def _go_on(begun: Coroutine[Any, Any, None], error: BaseException | None) -> Generator[Any, Any, None]:
    """Awaits what was begun elsewhere. `error`: raised where it waits."""
    try:
        awaited = begun.send(None) if error is None else begun.throw(error)
        while True:
            try:
                sent = yield awaited
            except BaseException as raised:
                awaited = begun.throw(raised)
            else:
                awaited = begun.send(sent)
    except StopIteration:
        return
