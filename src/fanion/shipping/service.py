"""Shipping's process: what it says and counts of itself; the loop is `pipeline.loop`."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Final

from fanion.config.shipping import Shipping
from fanion.journal.replicas import AWAY, Board, heard
from fanion.pipeline.loop import Loop, notes_of
from fanion.pipeline.service import Ending
from fanion.shipping.shipper import Shipper
from fanion.telemetry.heartbeats import Heartbeat
from fanion.telemetry.metrics import Metrics
from fanion.telemetry.shipping import ShippingNumbers

log = logging.getLogger("fanion.shipping")

AGAIN_S: Final = 0.1
"""After a look that failed, doubled up to `shipping.again_s_max` while it fails."""
AWAITED_S: Final = 1.0
"""The most of `shipping.interval_s` and `shipping.again_s_max` where requests wait for the stream."""


class Service(Loop[Shipper]):
    """`make`: the shipper, with what it calls at every step. `row`, `metrics`: of a server. `board`: where its
    workers wait for what the stream has. Then it doesn't give way to them, and sends as soon as it is rung for."""

    def __init__(
        self,
        settings: Shipping,
        make: Callable[[Callable[[], None]], Shipper],
        row: Heartbeat | None = None,
        metrics: Metrics | None = None,
        *,
        board: Board | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        most_s = math.inf if board is None else AWAITED_S
        super().__init__(
            make,
            row,
            interval_s=min(settings.interval_s, most_s),
            again_s=(AGAIN_S, min(settings.again_s_max, most_s)),
            spread=True,
            gives_way=board is None,
            now=now,
        )
        self._board = board
        self._numbers = ShippingNumbers(metrics) if metrics is not None else None

    def rest(self, work: Shipper, wait_s: float, ending: Ending) -> bool:
        board = self._board
        if board is None:
            return super().rest(work, wait_s, ending)
        until = time.monotonic() + wait_s
        while (left_s := until - time.monotonic()) > 0 and not ending.wait(left_s, board.shippers_bell):
            board.beat()
            if heard(board.shippers_bell):
                self.attempt(work, work.ship, ending)
        return ending()

    def tell_failed(self, reason: str, *, again: bool) -> None:
        if self._board is not None:
            self._board.say(AWAY)
        if self._numbers is not None:
            self._numbers.failed()
        if not again:
            log.error("records can't be shipped now; it is tried again", extra={"reason": reason})

    def tell_well(self) -> None:
        log.warning("records are shipped again")

    def tell_problem(self, problem: str) -> None:
        log.error("records can't be read and aren't shipped", extra={"reason": problem})

    def look(self, work: Shipper, *, failing: bool) -> list[str]:
        state = work.stands()
        if self._numbers is not None:
            self._numbers.update(state, failing=failing)
        notes = notes_of(work.gaps(), "shipped")
        if failing:
            notes.append(f"it is {state.lag_records:,} requests behind")
        return notes
