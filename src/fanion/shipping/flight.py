"""Blocks on their way to the stream: several at once, each leaving as soon as the oldest's acknowledgement frees a
place, and told of in order.

How many may be on their way follows how long an acknowledgement takes, up to `AT_ONCE`. Nothing waits by a clock
that goes on while nobody listens: what counts is how long the oldest was waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol, Self

from fanion.shipping.block import Block

AT_ONCE: Final = 32
"""Blocks on their way: 8 MB of them, or 16 MB of parts."""
AT_ONCE_FIRST: Final = 4
QUICK_S: Final = 0.5
SLOW_S: Final = 2.0
"""Until a block was acknowledged: quicker, and one more may be on its way; slower, half as many. On a slow way more
would keep the pings waiting by which a peer that is gone is found."""

Taken = list[tuple[Block, int]]
"""Blocks that the stream has, and their sequences there, in the order in which they were sent."""


class Way(Protocol):
    """To a stream. Either raises ShippingError."""

    def begin(self, block: Block, again: bool) -> asyncio.Future[int]:
        """Lets a block go; its sequence in the stream, later. What was acknowledged meanwhile is known then."""
        ...

    def wait(self, sent: asyncio.Future[int]) -> int:
        """Until the block is acknowledged, at most the time that the stream may take."""
        ...


class Pace:
    """How many may be on their way."""

    def __init__(self) -> None:
        self.at_once = AT_ONCE_FIRST
        self._halved_at = 0.0

    def took(self, began: float, ended: float, *, full: bool) -> None:
        """A block that left at `began` was acknowledged at `ended`. `full`: as many were on their way as may be.
        A window of blocks that were all too slow halves it once."""
        if ended - began > SLOW_S:
            if began >= self._halved_at:
                self.at_once, self._halved_at = max(1, self.at_once // 2), ended
        elif full and ended - began < QUICK_S:
            self.at_once = min(AT_ONCE, self.at_once + 1)


class _Sent(NamedTuple):
    block: Block
    place: asyncio.Future[int]
    began: float
    full: bool


class Flight:
    """`took`: told of what the stream has, in order, up to the first block that it may not have. `again`: also what
    it had before. Left by an error of who puts blocks, it waits for those on their way; by one of its own, it gives
    them up, and what of them was acknowledged in order is told."""

    def __init__(
        self,
        way: Way,
        pace: Pace,
        took: Callable[[Taken], object],
        *,
        again: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._way = way
        self._pace = pace
        self._took = took
        self._again = again
        self._now = now
        self._sent: deque[_Sent] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is not None and not issubclass(kind, Exception):
            self._give_up()
        with self._own():
            while self._sent:
                self._land(wait=True)

    def put(self, block: Block) -> None:
        """Once there is a place. Raises ShippingError, and what `took` does."""
        with self._own():
            while len(self._sent) >= self._pace.at_once:
                self._land(wait=True)
            full = len(self._sent) + 1 >= self._pace.at_once
            began = self._now()
            self._sent.append(_Sent(block, self._way.begin(block, self._again), began, full))
            self._land(wait=False)

    @contextlib.contextmanager
    def _own(self) -> Any:
        try:
            yield
        except BaseException:
            self._give_up()
            raise

    def _give_up(self) -> None:
        for each in self._sent:
            each.place.cancel()
        self._sent.clear()

    def _land(self, *, wait: bool) -> None:
        """What is acknowledged now, from the oldest on; `wait`: until that is."""
        taken: Taken = []
        sent = self._sent
        try:
            while sent and (wait or sent[0].place.done()):
                place = self._way.wait(sent[0].place)
                one, wait = sent.popleft(), False
                self._pace.took(one.began, self._now(), full=one.full)
                taken.append((one.block, place))
        finally:
            if taken:
                self._took(taken)
